/* Who does what in the engine: the functions of its files for one another, a noun each. Included by
 * internal.h, which has the structs. */
#ifndef SHRIKE_IKE_PARTS_H
#define SHRIKE_IKE_PARTS_H

/* ---- queue.c */
struct message *message_reserve(struct ike_engine *e, size_t len) MUST_USE; /* may be NULL */
struct message *message_create(struct ike_engine *e,
                               struct bytes octets) MUST_USE; /* may be NULL */
unsigned message_parts(const struct message *m);
struct message *message_keep(struct message *m);
void message_drop(struct ike_engine *e, struct message **m);
struct bytes message_bytes(const struct message *m);
void queue_begin_call(struct ike_engine *e);             /* frees what the last drain handed out */
size_t queue_spent_messages(const struct ike_engine *e); /* handed out, kept for nobody else */
void queue_free(struct ike_engine *e);
void queue_send(struct ike_engine *e, const struct ike_path *path, struct message *m);
/* Room for an ESP_ADD, filled in by the caller; NULL when memory is out. */
struct ike_child *queue_esp_add(struct ike_engine *e);
void queue_take_back(struct ike_engine *e); /* the last one put in */
void queue_esp_del(struct ike_engine *e, uint64_t tunnel, uint32_t spi_in, bool linger);
void queue_net(struct ike_engine *e, uint32_t kind, const struct tunnel *t, const struct child *c);
void queue_move(struct ike_engine *e, const struct sa *sa);
void queue_ask(struct ike_engine *e, uint64_t ticket);
void queue_release(struct ike_engine *e, const struct tunnel *t);
void queue_stay(struct ike_engine *e, uint64_t ticket, uint64_t tunnel);
/* An event about a tunnel (or, with t NULL, about a path). text may be NULL. */
struct ike_event *queue_event(struct ike_engine *e, uint32_t kind, const struct tunnel *t,
                              const struct ike_path *path, int err, const char *text);

/* ---- sa.c */
struct sa *sa_create(struct ike_engine *e, bool initiator, const struct ike_path *path) MUST_USE;
void sa_set_state(struct ike_engine *e, struct sa *sa, uint8_t state);
void sa_bury(struct ike_engine *e, struct sa *sa); /* out of all maps; memory goes after the call */
void sa_linger(struct ike_engine *e, struct sa *sa); /* dead, but repeats its last answer a while */
void sa_grave_empty(struct ike_engine *e);
void handshake_free(struct ike_engine *e, struct sa *sa);
void creation_free(struct ike_engine *e, struct creation **creation);
void sa_arm(struct ike_engine *e, struct timer *timer, time_us deadline);
void sa_disarm(struct ike_engine *e, struct timer *timer);
/* Sets the duty timer to the earliest of rekey, expiry, liveness and keepalive. */
void sa_plan_duty(struct ike_engine *e, struct sa *sa);
time_us soft_after(struct ike_engine *e, uint32_t seconds);
time_us liveness_at(const struct ike_engine *e, const struct sa *sa);
void sa_established(struct ike_engine *e, struct sa *sa);

/* ---- tunnel.c */
struct tunnel *tunnel_create(struct ike_engine *e, bool initiator) MUST_USE;
int tunnel_set_peer(struct ike_engine *e, struct tunnel *t, const struct identity *peer) MUST_USE;
void tunnel_peer(const struct tunnel *t, struct identity *out);
/* Children and addresses go, the event is queued, the memory is given back; its IKE SA stays with
 * tunnel == NULL. */
void tunnel_end(struct ike_engine *e, struct tunnel *t, uint32_t event, int err, uint16_t notify,
                const char *text);
/* The tunnel ends and its IKE SA goes with a Delete (when the peer knows it), else silently. */
void tunnel_close(struct ike_engine *e, struct tunnel *t, int err, uint16_t notify,
                  const char *text);
void tunnel_forget(struct ike_engine *e, struct tunnel *t); /* memory only, no action */
/* An established tunnel of this peer from this very address and port, or NULL. */
struct tunnel *tunnel_find(const struct ike_engine *e, const struct identity *peer,
                           const struct endpoint *remote);
void tunnel_replace_others(struct ike_engine *e, struct tunnel *t);
/* One more of its identity is to stand: the oldest gives way when there are too many. */
void tunnel_limit_others(struct ike_engine *e, struct tunnel *t);
/* It has its first child: NET_UP and, once, ESTABLISHED. */
void tunnel_up(struct ike_engine *e, struct tunnel *t, const struct child *c);

/* ---- child.c */
/* With a fresh SPI; NULL when there is no room. `old`: the one it is to replace. */
struct child *child_create(struct ike_engine *e, struct sa *sa, const struct child *old) MUST_USE;
struct child *child_find(const struct sa *sa, uint32_t spi_in);
struct child *child_find_out(const struct sa *sa, uint32_t spi_out);
void child_free(struct ike_engine *e, struct child *c); /* silently */
/* ESP_DEL, event unless err is 0, memory. */
void child_remove(struct ike_engine *e, struct child *c, bool linger, int err);
void child_move(struct child *c, struct sa *to);
/* KEYMAT, ESP_ADD, timer; the child is up. RFC 7296 2.17. */
int child_install(struct ike_engine *e, struct child *c, const struct secrets *s) MUST_USE;
int child_set_selectors(struct child *c, const struct selector *local, size_t local_count,
                        const struct selector *remote, size_t remote_count) MUST_USE;
bool child_has_successor(const struct child *c); /* another one with the same selectors is up */
void child_describe(const struct child *c, struct ike_child *out);
void child_heed(struct ike_engine *e, struct child *c, const struct wire_chain *chain);
void child_timer(struct ike_engine *e, struct child *c);
void child_retry(struct ike_engine *e, struct child *c, time_us after);
void child_time(struct ike_engine *e, struct child *c); /* its timer fired */
void child_soft(struct ike_engine *e, struct child *c);
void child_hard(struct ike_engine *e, struct child *c);
void child_mute(struct ike_engine *e, struct child *c);
void child_gone(struct ike_engine *e, struct child *c, int err);
struct rival *rival_create(struct bytes nonce_a, struct bytes nonce_b) MUST_USE;
void rival_free(struct rival **at);
/* Does the pair (a, b) hold the lowest nonce of all four? */
bool rival_is_higher(const struct rival *r, struct bytes nonce_a, struct bytes nonce_b);

/* ---- rules.c */
typedef int (*handler)(struct ike_engine *e, struct sa *sa, const struct input *in);
enum rule_role { RULE_INITIATOR = 1, RULE_RESPONDER = 2, RULE_BOTH = 3 };
struct rule {
    uint8_t exchange;
    bool response;   /* the message that comes in is a response */
    uint8_t role;    /* of us in the IKE SA */
    uint16_t states; /* bits 1 << enum ike_state */
    bool protected;  /* payloads are inside SK */
    bool notify_may_stand_alone;
    /* payload bits: exactly one; at most one; one of each or none. Others any number of times */
    uint32_t need, once, together;
    handler run;
};
#define PAYLOAD_BIT(type) (1u << ((type)-33)) /* types 33 to 64 */
size_t rules_count(void);
const struct rule *rules_at(size_t index);
const struct rule *rules_find(uint8_t exchange, bool response, bool initiator, uint8_t state);
/* 0, or NOTIFY_INVALID_SYNTAX. */
int rules_payloads(const struct rule *rule, const struct wire_chain *chain);

/* ---- window.c */
enum window_verdict {
    WINDOW_NEW,
    WINDOW_OLD,
    WINDOW_AGAIN, /* the ID of the last one, but other octets */
    WINDOW_DROP
};
enum window_verdict window_request(const struct ike_engine *e, const struct sa *sa,
                                   const struct input *in);
uint64_t window_hash(const struct ike_engine *e, struct bytes datagram);
void window_answer(struct ike_engine *e, struct sa *sa, struct message *reply,
                   const struct ike_path *path);
void window_send(struct ike_engine *e, struct sa *sa, const struct ike_path *path,
                 struct message *m);
/* The request under way goes out again at once, as if it were new: on another path. */
void window_hurry(struct ike_engine *e, struct sa *sa);
/* A request of ours goes out and will be repeated. Takes the message. */
void window_open(struct ike_engine *e, struct sa *sa, struct task task, struct message *m);
/* The answer is here: hands out what was kept about the request. */
struct exchange window_close(struct ike_engine *e, struct sa *sa);
void window_urge(struct ike_engine *e, struct sa *sa); /* the open request once more, now */
void window_timer(struct ike_engine *e, struct sa *sa);
void window_expired(struct ike_engine *e, struct sa *sa);
/* Own work that waits for the window. Equal tasks are kept once. ERR_LIMIT. */
int task_add(struct ike_engine *e, struct sa *sa, struct task task) MUST_USE;
void task_first(struct ike_engine *e, struct sa *sa, struct task task); /* before all others */
bool task_waits(const struct sa *sa, uint8_t kind, uint32_t spi_in);
/* The peer cannot do it now, or has forgotten what it began: again later, or the end of the tunnel.
 */
static inline bool task_is_to_be_held(uint16_t notify)
{
    return notify == NOTIFY_TEMPORARY_FAILURE || notify == NOTIFY_STATE_NOT_FOUND;
}
void task_hold(struct ike_engine *e, struct sa *sa, struct task task);
time_us task_held_until(const struct ike_engine *e, const struct sa *sa); /* or TIME_NEVER */
void task_run(struct ike_engine *e, struct sa *sa); /* starts the next when the window is free */
void task_move(struct ike_engine *e, struct sa *from, struct sa *to);

/* ---- sk.c */
/* The payload SK, or one fragment. */
int sk_open(struct ike_engine *e, const struct sa *sa, struct input *in) MUST_USE;
int sk_open_own(struct ike_engine *e, const struct sa *sa, struct input *in) MUST_USE;
void sk_begin(struct ike_engine *e, struct wire_builder *b);
/* Seals what was built into a message; NULL when it did not fit or memory is out. */
struct message *sk_seal(struct ike_engine *e, struct sa *sa, uint8_t exchange, bool response,
                        uint32_t id, struct wire_builder *b) MUST_USE;

/* What goes into one datagram; number 0 = all of it, in an SK payload. */
struct sk_part {
    uint8_t first;
    uint16_t number, total;
    struct bytes text;
};
/* Into e->out_buffer, with the key that sk_seal() has set up; empty when it did not work out. */
struct bytes sk_seal_part(struct ike_engine *e, struct sa *sa, const struct wire_header *header,
                          const struct sk_part *part);

/* ---- fragment.c */
/* Largest datagram, without IP and UDP headers and the non-ESP marker; SIZE_MAX = no limit. */
size_t fragment_room(const struct sa *sa);
struct message *fragment_seal(struct ike_engine *e, struct sa *sa, const struct wire_header *header,
                              uint8_t first, struct bytes inner) MUST_USE;
/* No answer for a while: our request in smaller pieces, when it has any to be cut. */
void fragment_shrink(struct ike_engine *e, struct sa *sa);
/* The same request again and again: our answer in smaller pieces, too. */
void fragment_shrink_reply(struct ike_engine *e, struct sa *sa);
bool fragment_read(struct ike_engine *e, const struct sa *sa, struct input *in) MUST_USE;
/* Before a cycle is spent on it: is this piece one that is missing? */
bool fragment_is_missing(const struct sa *sa, const struct input *in);
/* An opened datagram. True when the message is whole; it is in->inner_octets then. */
bool fragment_take(struct ike_engine *e, struct sa *sa, struct input *in) MUST_USE;
void fragment_drop(struct ike_engine *e, struct sa *sa);

/* ---- crash.c */
void crash_put_token(const struct ike_engine *e, const struct sa *sa, struct wire_builder *b);
void crash_read_token(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain);
void crash_send_token(struct ike_engine *e, struct sa *sa); /* of an SA made by rekeying */
void crash_token_free(struct sa *sa);
void crash_unknown_sa(struct ike_engine *e, const struct input *in);
void crash_unknown_spi(struct ike_engine *e, const struct ike_fact *fact);
void crash_heard(struct ike_engine *e, struct sa *sa, const struct input *in);
bool crash_heard_spi(struct ike_engine *e, const struct input *in); /* it was about that */

/* ---- keymat.c */
/* Keys of a first IKE SA (old NULL) or of a rekeyed one (RFC 7296 2.14, 2.18). */
struct keymat_input {
    struct bytes secret, nonce_i, nonce_r;
    struct bytes more; /* of a rekey: SK(1) and so on, RFC 9370 2.2.4 */
    uint64_t spi_i, spi_r;
    uint16_t old_prf; /* 0 = not a rekey */
    struct bytes old_d;
};
int keymat_ike(const struct chosen *chosen, const struct keymat_input *in, struct keys *keys,
               uint8_t sk_p[2][SECRET_MAX]) MUST_USE;
size_t keymat_child_len(const struct chosen *chosen);
/* initiator's direction first; each keymat_child_len() octets. */
int keymat_child(uint16_t prf, const uint8_t *d, const struct chosen *chosen,
                 const struct secrets *s, uint8_t *keymat_i, uint8_t *keymat_r) MUST_USE;

/* ---- kes.c */
/* kes->ke is given: the additional exchanges that go with it. single: there can be none. */
bool kes_match(const struct proposal *own, const struct proposal *theirs, bool single,
               struct kes *kes) MUST_USE;
bool kes_are_pq(const struct kes *kes);
/* As transforms: with `theirs` as an answer, which says NONE where that was offered. */
void kes_add(const struct kes *kes, const struct proposal *theirs, struct proposal *out);
/* Is what the answer has of the additional exchanges complete, and none of it twice? */
bool kes_answer(const struct proposal *offer, const struct proposal *answer);
bool kes_may_be_one(const struct proposal *p); /* no additional exchange need be */
bool kes_may_be_more(const struct proposal *p);
/* The methods of the additional exchanges, in the order in which they take place. */
size_t kes_additional(const struct kes *kes, uint8_t out[static ADDKE_MAX]);

/* ---- select.c */
enum select_ke {
    SELECT_KE_MUST,    /* IKE SA: one group, ke_sent is the one the peer guessed */
    SELECT_KE_NEVER,   /* child of IKE_AUTH */
    SELECT_KE_OPTIONAL /* CREATE_CHILD_SA: ke_sent 0 = the peer sent no KE payload */
};
struct selection {
    const struct proposal *own;
    size_t own_count;
    const struct proposal *offered;
    size_t offered_count;
    const struct proposal *groups; /* whose groups count when own has none (child: the IKE ones) */
    size_t group_count;
    enum select_ke ke;
    enum conf_pq pq;
    uint16_t ke_sent;
    bool esn;
    bool single; /* the peer cannot do additional key exchanges now */
};
/* The best by our preference over all proposals of the peer; one with ML-KEM before all others. 0
 * and *out (number and SPI as the peer gave them); NOTIFY_NO_PROPOSAL_CHOSEN;
 * NOTIFY_INVALID_KE_PAYLOAD and *group. */
int select_proposal(const struct selection *s, struct proposal *out, uint16_t *group);
/* Is `answer` one of what we offered, complete and with one transform a type? ERR_NO_PROPOSAL. */
int select_check(const struct proposal *offer, size_t count, const struct proposal *answer,
                 enum select_ke ke, enum conf_pq pq) MUST_USE;
struct chosen select_chosen(const struct proposal *p);
/* The proposals we send: numbered, with the SPI; for a child with or without groups. */
struct select_wish {
    uint8_t protocol;
    struct bytes spi;
    bool with_ke;
    bool more; /* child without groups of its own: with the IKE SA's additional exchanges, too */
    uint16_t first_group;
};
size_t select_offer(const struct conf_tunnel *conf, const struct select_wish *wish,
                    struct proposal out[static OFFERS_MAX]);
bool select_offers_group(const struct proposal *proposals, size_t count, uint16_t group);
uint16_t select_first_group(const struct proposal *proposals, size_t count);

/* ---- narrow.c */
/* Every offered selector cut with every one of the policy; at most CONF_SELECTORS, none inside
 * another. RFC 7296 2.9. *left_out becomes true when some did not fit. */
size_t narrow(const struct selector *offered, size_t offered_count, const struct selector *policy,
              size_t policy_count, struct selector out[static CONF_SELECTORS], bool *left_out);
/* Our side's selectors and the peer's. */
struct traffic {
    struct selector local[CONF_SELECTORS], remote[CONF_SELECTORS];
    size_t local_count, remote_count;
};
/* A tunnel's policies: 0 is that of the first child, the others are those of conf->children. */
size_t policy_count(const struct ike_engine *e, const struct tunnel *t);
void traffic_policy(const struct ike_engine *e, const struct sa *sa, uint8_t wish, bool transport,
                    struct traffic *out);
/* Of lists one pair, counted from 1, locals outside; false when there is no such pair, or its
 * families differ. */
bool traffic_pair(struct traffic *t, uint16_t pair);
/* What we offer for a child: that of the one it replaces, or its wish. */
void traffic_offer(const struct ike_engine *e, const struct sa *sa, const struct child *made,
                   const struct child *rekeyed, struct traffic *out);
/* As responder: the part of the offer in ts_i and ts_r that a policy allows, into the child. 0, or
 * a notify and e->why. */
int traffic_choose(struct ike_engine *e, const struct sa *sa, const struct wire_chain *chain,
                   size_t count_i, size_t count_r, struct child *c);

/* ---- hosts.c: transport mode */
/* Is a child that we begin to be in transport mode? */
bool hosts_wanted(const struct ike_engine *e, const struct sa *sa, const struct child *rekeyed);
int hosts_begin(struct ike_engine *e, struct child *c) MUST_USE; /* it is, or e->why */
void hosts_end(struct ike_engine *e, struct child *c);
void hosts_put(const struct child *c, struct wire_builder *b);
void hosts_describe(const struct child *c, struct ike_child *out);
/* As initiator: is the mode the one we asked for? The addresses in ts_i and ts_r become ours. */
int hosts_answer(struct ike_engine *e, struct child *c, const struct wire_chain *chain,
                 size_t count_i, size_t count_r) MUST_USE;
/* As responder: the mode, then traffic_choose(). */
int hosts_choose(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain,
                 size_t count_i, size_t count_r, const struct child *old, struct child *c);
/* The peer has another address now: its children in transport mode end. */
void hosts_moved(struct ike_engine *e, struct sa *sa);

/* ---- wish.c: the children that an initiator wants beside the first one */
const char *wish_name(const struct ike_engine *e, uint8_t wish); /* of conf->children, or "" */
void wish_start(struct ike_engine *e, struct sa *sa);            /* all of them, as tasks */
void wish_missing(struct ike_engine *e, struct sa *sa); /* wish_at has come: those that are not */
void wish_later(struct ike_engine *e, struct sa *sa, time_us after);
/* The peer takes one pair of selectors at a time: one child for each pair. False when there is
 * only one anyway. */
bool wish_pairs(struct ike_engine *e, struct sa *sa, uint8_t wish);
/* ADDITIONAL_TS_POSSIBLE: children for what the peer left out of this one. */
void wish_rest(struct ike_engine *e, struct sa *sa, const struct child *c);
/* An authenticated no to a CREATE_CHILD_SA that was no rekey. */
void wish_refused(struct ike_engine *e, struct sa *sa, const struct task *task, uint16_t notify);

static inline uint8_t protocol_of(const struct child *c)
{
    return c->ah ? PROTOCOL_AH : PROTOCOL_ESP;
}

/* What child SAs are made of here: ESP or AH. */
static inline uint8_t child_protocol(const struct ike_engine *e)
{
    return e->conf->esp[0].protocol;
}

/* ---- config.c */
/* former: the tunnel whose addresses we want to keep, or NULL. */
void config_request(struct ike_engine *e, const struct tunnel *former, struct wire_builder *b);
void config_read_request(const struct wire_chain *chain, struct ike_engine *e, struct ike_ask *ask);
void config_reply(struct ike_engine *e, const struct tunnel *t, const struct wire_chain *request,
                  struct wire_builder *b);
int config_read_reply(struct ike_engine *e, const struct wire_chain *chain,
                      struct tunnel *t) MUST_USE;

/* ---- path.c */
void path_put_detection(struct ike_engine *e, struct wire_builder *b, uint64_t spi_i,
                        uint64_t spi_r, const struct ike_path *path);
void path_detect(struct ike_engine *e, struct sa *sa, const struct input *in);
/* What the NAT detection payloads of a message say. */
struct nat_view {
    bool seen, local, remote;
    uint8_t destination[20]; /* how the sender of the message sees us */
};
void path_look(const struct input *in, const struct wire_chain *chain, struct nat_view *out);
/* Takes it over, and what it means for UDP encapsulation. */
void path_apply(struct ike_engine *e, struct sa *sa, const struct nat_view *view);
bool path_equal(const struct ike_path *a, const struct ike_path *b); /* addresses and ports */
void path_float(struct ike_engine *e, struct sa *sa); /* initiator: to port 4500 when needed */
void path_settle(struct sa *sa, const struct ike_path *path); /* responder */
/* AH is wanted, and its addresses would not arrive as they were sent. */
bool path_bars_ah(const struct ike_engine *e, const struct sa *sa);
/* An authentic new message came in. */
void path_heard(struct ike_engine *e, struct sa *sa, const struct input *in);
/* The newest authentic ESP packet came from here. */
void path_esp_heard(struct ike_engine *e, struct sa *sa, const struct endpoint *remote);

/* ---- keepalive.c */
void keepalive_send(struct ike_engine *e, struct sa *sa);
time_us keepalive_at(const struct ike_engine *e, const struct sa *sa);
void keepalive_reset(struct roam *r); /* another path, another NAT */
/* Asking to be called, being asked, and when it is time. */
void keepalive_put_request(struct ike_engine *e, const struct sa *sa, struct wire_builder *b);
void keepalive_request(struct ike_engine *e, struct sa *sa, const struct input *in,
                       struct wire_builder *b);
void keepalive_wake(struct ike_engine *e, struct sa *sa);
void keepalive_called(struct ike_engine *e, struct sa *sa, const struct input *in);
/* An answer (of e->done) told how the peer sees us. */
void keepalive_learn(struct ike_engine *e, struct sa *sa, const struct input *in);

/* ---- mobike.c: the payloads of RFC 4555, and the gateway's part */
struct roam *roam_of(struct tunnel *t); /* made when there is none; NULL: no memory */
void mobike_put_support(struct ike_engine *e, const struct sa *sa, struct wire_builder *b);
void mobike_read_support(struct ike_engine *e, struct sa *sa, const struct wire_chain *chain);
void mobike_put_request(struct ike_engine *e, struct sa *sa, const struct task *task,
                        struct wire_builder *b);
/* An INFORMATIONAL request: what it asks for, and what the answer holds. */
void mobike_request(struct ike_engine *e, struct sa *sa, const struct input *in,
                    struct wire_builder *b);
void mobike_response(struct ike_engine *e, struct sa *sa, const struct input *in);
/* Traffic goes to `target` when it has answered; true: now, as its address has not long ago. */
bool mobike_check(struct ike_engine *e, struct sa *sa, const struct ike_path *target);
/* Traffic that went ahead of the answer goes back. */
void mobike_check_delayed(struct ike_engine *e, struct sa *sa);
void mobike_own_address_gone(struct ike_engine *e, struct sa *sa);
/* Where ESP goes now: not to a place that has not answered yet. */
const struct ike_path *mobike_esp_path(const struct sa *sa, bool *udp);

/* ---- roam.c: a client looks for a path */
int roam_addresses(struct ike_engine *e, const struct ike_addresses *now);
void roam_settle(struct ike_engine *e, struct sa *sa); /* just established */
/* A request is about to be repeated: a check that stays unanswered takes traffic back. */
void roam_repeats(struct ike_engine *e, struct sa *sa);
/* The path of a request's next repetition, and when the one after is due; false: the usual pause.
 */
const struct ike_path *roam_path(struct ike_engine *e, struct sa *sa);
bool roam_pause(struct ike_engine *e, struct sa *sa, time_us *pause);
/* When nothing will come of it any more; `usual` without a search. */
time_us roam_end(const struct ike_engine *e, const struct sa *sa, time_us usual);
/* Traffic goes out and nothing comes in, and there is another path. */
bool roam_doubts(const struct ike_engine *e, const struct sa *sa);
void roam_answered(struct ike_engine *e, struct sa *sa, const struct ike_path *path);
/* Traffic came on a child; we sent on one, and nothing came since the last time. */
void roam_carried(struct ike_engine *e, struct sa *sa);
void roam_silent(struct ike_engine *e, struct sa *sa);
void roam_heard(struct ike_engine *e, struct sa *sa, const struct ike_path *at);
void roam_told(struct ike_engine *e, struct sa *sa, const struct ike_path *from);
void roam_updated(struct ike_engine *e, struct sa *sa, const struct input *in);
/* Another IKE SA, made anew, carries the tunnel. */
void roam_forget(struct roam *r);
void roam_tried(struct ike_engine *e, struct sa *sa, const struct ike_path *path);
time_us roam_at(const struct sa *sa);
void roam_time(struct ike_engine *e, struct sa *sa);
void roam_update(struct ike_engine *e, struct sa *sa); /* UPDATE_SA_ADDRESSES, as soon as may be */

/* ---- reauth.c */
/* IKE_AUTH is through: when is the next one? */
void reauth_begin(struct ike_engine *e, struct tunnel *t, const struct wire_chain *chain);
void reauth_heed(struct ike_engine *e, struct tunnel *t, const struct wire_chain *chain);
/* The peer will not rekey: as soon as may be. */
void reauth_instead(struct ike_engine *e, struct tunnel *t);
void reauth_due(struct ike_engine *e, struct tunnel *t);
/* The request that is out goes unanswered: another IKE SA is tried; and it was answered. */
void reauth_doubt(struct ike_engine *e, const struct sa *sa);
void reauth_answered(struct ike_engine *e, const struct sa *sa);
/* The tunnel ends, so that there is nothing to renew. */
void reauth_forsake(struct ike_engine *e, const struct tunnel *t);
/* At a gateway: `next` stands beside the tunnel whose place it takes; the client will close that.
 */
void reauth_stands(struct ike_engine *e, const struct tunnel *next);
/* `next` ends before it has taken over. */
void reauth_failed(struct ike_engine *e, const struct tunnel *next, const char *why);
/* The tunnel that was to be renewed gets this IKE SA; *old is the one it had, with its children,
 * which goes by reauth_retire(). ERR_STATE: there is no such tunnel any more. */
int reauth_take_over(struct ike_engine *e, struct sa *sa, struct sa **old) MUST_USE;
void reauth_retire(struct ike_engine *e, struct sa *old);
/* The tunnel stands on another configuration: as soon as may be. */
void reauth_stale(struct ike_engine *e, struct tunnel *t);
void reauth_sooner(struct ike_engine *e, struct tunnel *t); /* if the configuration says so now */
/* An attempt that has not come to its end: from its beginning, by the configuration of now. */
void reauth_restart(struct ike_engine *e, struct tunnel *t);

/* ---- reload.c */
/* What an exchange of ours began with. */
const struct conf_tunnel *former_conf(const struct ike_engine *e, const struct creation *c);
void former_drop(struct former **at);
/* Is the suite of a half-open SA that was there before still allowed? */
bool reload_allows(const struct ike_engine *e, const struct sa *sa);
/* Our exchange has made it, and may have begun by a configuration of before. */
void reload_judge_ike(struct ike_engine *e, const struct creation *by, struct sa *sa);
void reload_judge_child(struct ike_engine *e, const struct creation *by, struct child *c);

/* ---- stay.c */
struct sweep *stay_create(const struct ike_engine *e) MUST_USE; /* NULL: no memory */
void stay_begin(struct ike_engine *e, struct sweep *sweep);     /* takes it */
void stay_run(struct ike_engine *e);                            /* the next ones */
void stay_end(struct ike_engine *e);
void stay_forget(struct ike_engine *e, uint64_t tunnel);
void stay_fill(const struct ike_engine *e, const struct tunnel *t, struct ike_ask *ask);
/* False: it was no such question. */
bool stay_answered(struct ike_engine *e, const struct ike_answer *answer);
/* Children that carry more than the configuration allows now end. */
void stay_narrow(struct ike_engine *e, struct tunnel *t);
/* A child is up: one that we asked for in its stead is not needed. */
void stay_yield(struct ike_engine *e, struct sa *sa);

/* ---- info.c */
int info_start(struct ike_engine *e, struct sa *sa, struct task task);
int info_request(struct ike_engine *e, struct sa *sa, const struct input *in);
int info_response(struct ike_engine *e, struct sa *sa, const struct input *in);

/* ---- stray.c */
void stray_tell(struct ike_engine *e, struct child *c, const struct ike_fact *fact);
void stray_heard(struct ike_engine *e, const struct sa *sa, const struct wire_chain *chain);

/* ---- explain.c: one sentence each, into e->why, which is returned */
const char *explain_proposals(struct ike_engine *e, const struct proposal *theirs, size_t count,
                              const struct proposal *ours, size_t our_count);
int explain_error(uint16_t notify); /* the enum err that fits */
const char *explain_notify(struct ike_engine *e, const struct sa *sa, uint16_t notify);
const char *explain_timeout(struct ike_engine *e, const struct sa *sa);
const char *explain_auth(struct ike_engine *e, const struct sa *sa, int err);
const char *explain_ts(struct ike_engine *e, const struct selector *theirs, size_t their_count,
                       const struct selector *ours, size_t our_count);
const char *explain(struct ike_engine *e, const char *format, ...) PRINTF_LIKE(2, 3);
void identity_text(const struct identity *id, char text[static IDENTITY_TEXT]);

/* ---- engine.c */
void engine_begin(struct ike_engine *e, time_us now);
void engine_end(struct ike_engine *e);
void check_liveness(struct ike_engine *e, struct sa *sa);
/* ---- input.c */
void sa_input(struct ike_engine *e, struct sa *sa, struct input *in);
/* Our attempt ends. tell: the peer takes the SA for established and must hear of it. */
void attempt_failed(struct ike_engine *e, struct sa *sa, int err, uint16_t notify, bool tell,
                    const char *text);
/* A peer's attempt ends with a protected error notify. */
void attempt_refused(struct ike_engine *e, struct sa *sa, uint8_t exchange, int err,
                     uint16_t notify, const char *text);

/* ---- refusal.c */
/* May a refusal be told? Some a second, and fewer of those who have not even shown that they
 * receive where they say they are, so that nobody fills our log. */
bool refusal_is_told(struct ike_engine *e, bool stranger);
void refusal_budget(struct ike_engine *e, struct tunnel *t, int err, bool stranger);
void refusal_count(struct ike_engine *e, int err);
/* Debug lines about strangers, and lines about what those do who are let in: a few a second. */
bool stranger_is_logged(struct ike_engine *e);
bool peer_is_logged(struct ike_engine *e);
/* A stranger's message that is none of ours to answer or to understand: counted, and told. */
void refusal_of_stranger(struct ike_engine *e, const struct input *in, uint16_t notify,
                         const char *text);
/* A peer's request on an SA that stands gets this error for an answer: the same, unless the error
 * is one that mends itself (RFC 7296 2.25). */
void refusal_of_request(struct ike_engine *e, const struct sa *sa, uint8_t exchange,
                        uint16_t notify);

#endif
