#include <stdio.h>

#include "wire/wire.h"

#define X(name, value)                                                                             \
    case value:                                                                                    \
        return #name;

const char *wire_exchange_name(uint8_t exchange, char text[static WIRE_NAME_TEXT])
{
    switch (exchange) {
        WIRE_EXCHANGE_LIST(X)
    default:
        snprintf(text, WIRE_NAME_TEXT, "exchange-%u", exchange);
        return text;
    }
}

const char *wire_payload_name(uint8_t payload, char text[static WIRE_NAME_TEXT])
{
    switch (payload) {
        WIRE_PAYLOAD_LIST(X)
    default:
        snprintf(text, WIRE_NAME_TEXT, "payload-%u", payload);
        return text;
    }
}

const char *wire_notify_name(uint16_t notify, char text[static WIRE_NAME_TEXT])
{
    switch (notify) {
        WIRE_NOTIFY_LIST(X)
    default:
        snprintf(text, WIRE_NAME_TEXT, "notify-%u", notify);
        return text;
    }
}
