/* Configuration files, and the small languages inside them. */
#include "conf/conf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_faults(const struct conf_faults *faults, bool refused)
{
    if (refused != (faults->count > faults->warnings))
        abort();
    for (size_t i = 0; i < faults->count && i < CONF_FAULTS_MAX; i++) {
        char text[sizeof(struct conf_fault) + 64];
        conf_fault_print(&faults->at[i], text, sizeof text);
        for (const char *at = text; *at; at++) {
            if ((unsigned char)*at < 0x20 || *at == 0x7f)
                abort(); /* nothing of the file reaches a terminal unescaped */
        }
    }
}

static void parse(struct bytes text)
{
    static struct conf_faults faults;
    struct conf *conf;
    char path[CONF_PATH_MAX];
    memset(&faults, 0, sizeof faults);
    int err = conf_parse("a/b.conf", text, &conf, &faults);
    check_faults(&faults, err != 0);
    if (err && conf)
        abort();
    if (!err && (!conf->tunnel.name[0] || conf_control_path(conf, path) || !conf->interface[0] ||
                 !conf->tunnel.ike_count || !conf->tunnel.esp_count || !conf->tunnel.local_auth))
        abort();
    conf_free(conf);
}

static void read_words(struct bytes text)
{
    static const char *const words[] = {"gateway", "up", "down", "status"};
    uint8_t psk[CONF_PSK_MAX];
    size_t len;
    uint64_t seconds;
    if (!conf_psk_decode(text, psk, &len) && (!len || len > CONF_PSK_MAX))
        abort();
    (void)conf_psk_weakness(text);
    char *word = malloc(text.len + 1);
    if (text.len)
        memcpy(word, text.at, text.len);
    word[text.len] = 0;
    (void)conf_duration(word, &seconds);
    (void)conf_closest(word, words, ARRAY_LEN(words));
    free(word);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* files begin with text; an octet over 127 in front means a single word */
    if (size && data[0] > 127 && data[0] < 0xef)
        read_words((struct bytes){data + 1, size - 1});
    else
        parse((struct bytes){data, size});
    return 0;
}
