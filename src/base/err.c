#include "base/base.h"

const char *err_word(int err)
{
    switch (err) {
#define X(name, value, word, sentence)                                                             \
    case value:                                                                                    \
        return word;
        ERR_LIST(X)
#undef X
    default:
        return err < 0 ? "unknown" : "ok";
    }
}

const char *err_sentence(int err)
{
    switch (err) {
#define X(name, value, word, sentence)                                                             \
    case value:                                                                                    \
        return sentence;
        ERR_LIST(X)
#undef X
    default:
        return err < 0 ? "unknown error" : "ok";
    }
}
