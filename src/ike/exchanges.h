/* As parts.h, for the files that hold an exchange each, and for what their messages are made of.
 * Included by internal.h after it. */
#ifndef SHRIKE_IKE_EXCHANGES_H
#define SHRIKE_IKE_EXCHANGES_H

/* ---- negotiation.c */
/* Our nonce, and our half of the key exchange: with peer NULL we begin, else we answer it. */
int negotiation_create(struct ike_engine *e, struct negotiation *n, uint16_t group,
                       const struct wire_ke *peer) MUST_USE;
void negotiation_free(struct negotiation *n);
void negotiation_put(struct wire_builder *b, const struct negotiation *n);

/* ---- init.c */
void init_other_version(struct ike_engine *e, const struct input *in);
int init_start(struct ike_engine *e, struct sa *sa) MUST_USE;
void init_request(struct ike_engine *e, const struct input *in); /* stateless until all is right */
int init_response(struct ike_engine *e, struct sa *sa, const struct input *in);
void init_again(struct ike_engine *e, struct sa *sa);
/* Group, peer's public value and nonce out of a message; ERR_SYNTAX. */
struct exchange_values {
    struct wire_ke ke;
    struct bytes nonce;
    bool has_ke;
};
int init_values(const struct wire_chain *chain, struct exchange_values *out) MUST_USE;

/* ---- intermediate.c */
/* Both sides can do it; the additional exchanges of `chosen` are to come. */
int intermediate_agree(struct sa *sa, const struct chosen *chosen) MUST_USE;
void intermediate_free(struct handshake *h);
bool intermediate_is_agreed(const struct sa *sa);
bool intermediate_is_due(const struct sa *sa);
bool intermediate_is_idle(const struct sa *sa);              /* agreed on, and none was held */
int intermediate_go_on(struct ike_engine *e, struct sa *sa); /* as initiator; IKE_AUTH at last */
int intermediate_request(struct ike_engine *e, struct sa *sa, const struct input *in);
int intermediate_response(struct ike_engine *e, struct sa *sa, const struct input *in);
/* The keys of the message with this ID. */
const struct keys *intermediate_keys(const struct sa *sa, uint32_t id);
/* IKE_AUTH begins with this message ID; IntAuth of RFC 9242 3.3.2, empty when there was none. */
void intermediate_end(struct sa *sa, uint32_t auth_id);
struct bytes intermediate_octets(const struct sa *sa, uint8_t out[static AUTH_INTERMEDIATE_MAX]);

/* ---- ask.c */
int ask_open(struct ike_engine *e, struct sa *sa, uint32_t want) MUST_USE;
void ask_close(struct ike_engine *e, struct sa *sa);
/* Fills the question; what is signed is written straight into it. */
int ask_fill(struct ike_engine *e, struct sa *sa, struct ike_ask *ask) MUST_USE;
int ask_octets(struct ike_engine *e, const struct sa *sa, bool own, uint8_t *out,
               size_t *len) MUST_USE;
int ask_choose_method(struct ike_engine *e, struct sa *sa) MUST_USE;

/* ---- ikeauth.c, initiator and responder */
int auth_begin(struct ike_engine *e, struct sa *sa) MUST_USE; /* IKE_SA_INIT is through */
int auth_request(struct ike_engine *e, struct sa *sa, const struct input *in);
int auth_response(struct ike_engine *e, struct sa *sa, const struct input *in);
void auth_request_answered(struct ike_engine *e, struct sa *sa, const struct ike_answer *answer);
void auth_response_answered(struct ike_engine *e, struct sa *sa, const struct ike_answer *answer);
/* The open question once more: the configuration has changed. */
void auth_ask_again(struct ike_engine *e, struct sa *sa);

/* ---- proof.c: identities, certificates and AUTH payloads */
void proof_own_identity(const struct ike_engine *e, const struct sa *sa,
                        const struct wire_chain *request, struct identity *out);
void proof_put_certs(struct ike_engine *e, const struct sa *sa, struct wire_builder *b);
void proof_put_certreq(struct ike_engine *e, struct wire_builder *b);
bool proof_put_methods(const struct ike_engine *e, struct wire_builder *b, size_t most);
void proof_read_methods(struct sa *sa, const struct wire_chain *chain);
int proof_put_auth(struct ike_engine *e, const struct sa *sa, struct bytes auth,
                   struct wire_builder *b) MUST_USE;
/* Is the peer's proof one we allow; certificates are verified here and now. */
int proof_check(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                enum cert_purpose purpose) MUST_USE;

/* ---- terms.c: what both sides agree on for a child, IKE_AUTH included */
/* Into e->picked; or a notify with its data, and e->why. */
int terms_select(struct ike_engine *e, const struct selection *s);
/* The child half of a request (SA, TSi, TSr) on the responder's side; with `old` NULL for a new
 * one. Fills *out without installing it. */
int terms_choose(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                 const struct child *old, enum select_ke ke, uint16_t ke_sent, struct child **out);
/* ERR_NO_PROPOSAL, and why. */
int terms_explain_nat(struct ike_engine *e);
int terms_accept(struct ike_engine *e, struct sa *sa, struct child *c, const struct child *rekeyed,
                 const struct wire_chain *chain, enum select_ke ke, uint16_t group) MUST_USE;
/* What we offer, into e->offer. */
size_t terms_offer(struct ike_engine *e, const struct sa *sa, struct bytes spi, uint16_t group);
void terms_put(struct ike_engine *e, const struct child *c, const struct negotiation *n,
               struct wire_builder *b);
void terms_offer_ts(struct ike_engine *e, const struct sa *sa, const struct child *made,
                    const struct child *rekeyed, struct wire_builder *b);

/* ---- create.c */
int create_start(struct ike_engine *e, struct sa *sa, struct task task);
struct creation *creation_create(struct ike_engine *e, uint16_t group) MUST_USE;
/* Our child is agreed on, and its secrets are here (err 0), or it came to nothing. */
int create_finish(struct ike_engine *e, struct sa *sa, int err, const struct secrets *s, bool rest);
void create_refused(struct ike_engine *e, struct sa *sa, const struct wire_notify_view *n);
/* The peer's: 0, or a notify. */
int create_grant(struct ike_engine *e, struct sa *sa, struct child *c, struct child *old,
                 const struct secrets *s);
bool create_is_under_way(const struct sa *sa); /* a child of ours waits for the peer's answer */
int create_request(struct ike_engine *e, struct sa *sa, const struct input *in);
int create_response(struct ike_engine *e, struct sa *sa, const struct input *in);

/* ---- rekey.c */
int rekey_ike_start(struct ike_engine *e, struct sa *sa, struct task task);
int rekey_ike_request(struct ike_engine *e, struct sa *sa, const struct input *in);
int rekey_ike_response(struct ike_engine *e, struct sa *sa, const struct input *in);
/* As create_finish(), create_refused() and create_grant(), which takes `made`. */
int rekey_ike_finish(struct ike_engine *e, struct sa *sa, int err, const struct secrets *s);
void rekey_ike_refused(struct ike_engine *e, struct sa *sa, const struct wire_notify_view *n);
int rekey_ike_grant(struct ike_engine *e, struct sa *sa, struct sa *made, const struct secrets *s);
void rekey_drop_rival(struct ike_engine *e, struct sa *sa);
void rekey_ike_failed(struct ike_engine *e, struct sa *sa, time_us again);
bool rekey_settle_deleted(struct ike_engine *e, struct sa *sa);
void rekey_adopt(struct ike_engine *e, struct sa *old, struct sa *successor);
bool rekey_child_lost(const struct sa *sa, const struct exchange *done, struct bytes nonce_i,
                      struct bytes nonce_r);
/* Our own rekey of a child is through: which of the up to three children goes? */
void rekey_child_done(struct ike_engine *e, struct sa *sa, struct child *old, struct child *made,
                      struct bytes nonce_i, struct bytes nonce_r);

/* ---- followup.c */
struct followup *followup_create(const struct kes *kes, const struct secrets *s); /* NULL: memory */
void followup_free(struct ike_engine *e, struct followup **at);
/* As initiator: the answer to our CREATE_CHILD_SA is here, and more exchanges are to come. */
int followup_begin(struct ike_engine *e, struct sa *sa, const struct kes *kes,
                   const struct secrets *s, const struct wire_chain *chain) MUST_USE;
/* As responder: what waits for them. */
struct followup_subject {
    struct sa *made;     /* IKE SA, or: */
    uint32_t child, old; /* SPIs; old 0 = none */
};
void followup_wait(struct ike_engine *e, struct sa *sa, struct followup *f,
                   const struct followup_subject *subject);
bool followup_makes_ike(const struct sa *sa);
bool followup_makes_child(const struct sa *sa, uint32_t spi_in);
void followup_drop(struct ike_engine *e, struct sa *sa); /* it will not come to an end */
void followup_expired(struct ike_engine *e, struct sa *sa);
int followup_request(struct ike_engine *e, struct sa *sa, const struct input *in);
int followup_response(struct ike_engine *e, struct sa *sa, const struct input *in);

#endif
