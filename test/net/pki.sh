# Certificates for the tests, made by the openssl command so that they do not depend on our own pki.
# shellcheck shell=bash
#
#   pki_ca CA KEYTYPE [FROM]              $PKI/CA.pem, $PKI/CA.key; itself the root, or issued by FROM
#   pki_cert CA NAME KEYTYPE SAN [DAYS]   $PKI/NAME.pem, $PKI/NAME.key   SAN: DNS:..., IP:..., email:...
#
# KEYTYPE: rsa2048 rsa3072 p256 p384 p521 ed25519
# DAYS may be negative: the certificate has then ended that many days ago.

PKI=${PKI:-$LAB_DIR/pki}

pki_key()
{
    case $1 in
    rsa*) openssl genpkey -quiet -algorithm RSA -pkeyopt "rsa_keygen_bits:${1#rsa}" -out "$2" ;;
    p*) openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:P-${1#p}" \
        -pkeyopt ec_param_enc:named_curve -out "$2" ;;
    ed25519) openssl genpkey -algorithm ED25519 -out "$2" ;;
    *) echo "pki: no key type '$1'" >&2; return 2 ;;
    esac && chmod 600 "$2"
}

# openssl ca needs a database for explicit dates, openssl x509 takes none before OpenSSL 3.4.
pki_sign()
{
    local ca=$1 csr=$2 out=$3 ext=$4 days=$5 start end
    start=$(date -u -d "-400 days" +%Y%m%d%H%M%SZ)
    end=$(date -u -d "$days days" +%Y%m%d%H%M%SZ)
    mkdir -p "$PKI/db-$ca"
    : >"$PKI/db-$ca/index"
    cat >"$PKI/db-$ca/conf" <<END
[ca]
default_ca = d
[d]
database = $PKI/db-$ca/index
new_certs_dir = $PKI/db-$ca
rand_serial = yes
default_md = default
policy = p
unique_subject = no
[p]
organizationName = optional
commonName = supplied
END
    openssl ca -batch -notext -config "$PKI/db-$ca/conf" -startdate "$start" -enddate "$end" \
        -extfile "$ext" -in "$csr" -out "$out" "${@:6}" 2>"$PKI/db-$ca/log" ||
        { cat "$PKI/db-$ca/log" >&2; return 1; }
}

pki_ca()
{
    local signer=(-selfsign -keyfile "$PKI/$1.key")
    [ -z "${3:-}" ] || signer=(-cert "$PKI/$3.pem" -keyfile "$PKI/$3.key")
    mkdir -p "$PKI"
    pki_key "$2" "$PKI/$1.key" || return
    openssl req -new -key "$PKI/$1.key" -subj "/O=Shrike test/CN=$1" -out "$PKI/$1.csr"
    printf '%s\n' 'basicConstraints=critical,CA:TRUE' 'keyUsage=critical,keyCertSign,cRLSign' \
        'subjectKeyIdentifier=hash' >"$PKI/$1.ext"
    pki_sign "${3:-$1}" "$PKI/$1.csr" "$PKI/$1.pem" "$PKI/$1.ext" 3650 "${signer[@]}"
}

pki_cert()
{
    local ca=$1 name=$2
    pki_key "$3" "$PKI/$name.key" || return
    openssl req -new -key "$PKI/$name.key" -subj "/O=Shrike test/CN=$name" -out "$PKI/$name.csr"
    printf '%s\n' 'basicConstraints=critical,CA:FALSE' 'keyUsage=critical,digitalSignature' \
        'extendedKeyUsage=serverAuth,clientAuth' "subjectAltName=$4" \
        'authorityKeyIdentifier=keyid' >"$PKI/$name.ext"
    pki_sign "$ca" "$PKI/$name.csr" "$PKI/$name.pem" "$PKI/$name.ext" "${5:-365}" \
        -cert "$PKI/$ca.pem" -keyfile "$PKI/$ca.key"
}
