/*
 * Load for the broker's benchmark: one agent and one worker of DSP/1, in C, so that the peers do not
 * limit what is measured.  Bodies come ready-made from the caller (benchmarks/broker.py); this
 * program knows only the envelope and the order of the eight messages of a dialog:
 *
 *     BEGIN, RECEIVE, RECEIVED, RECEIVE, RECEIVED, COMPLETE, END, END_REPLY
 *
 *   load relay  AGENTS WORKERS IN_FLIGHT SECONDS < templates    through a broker, packed frames
 *   load single AGENTS WORKERS IN_FLIGHT SECONDS < templates    through zmq_proxy, one message a frame
 *   load direct ENDPOINT -     IN_FLIGHT SECONDS < templates    agent and worker face to face: the ceiling
 *   load proxy  AGENTS WORKERS 0 SECONDS                        libzmq's own zmq_proxy
 *
 * Prints one line of JSON: dialogs, seconds, messages and frames received by both peers.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

enum { BEGIN = 16, RECEIVE = 19, RECEIVED = 20, COMPLETE = 21, END = 22, END_REPLY = 23 };
enum { WELCOME = 2, PING = 4, PONG = 5 };
enum { HEADER = 21, BODY_MAX = 4096, SLOTS_MAX = 4096, FRAME_MAX = 60 * 1024, FRAME_MESSAGES = 500 };

typedef struct { unsigned char bytes[BODY_MAX]; size_t length; } Bytes;

static Bytes hello_agent, hello_worker, ready, begin, receive1, received1, receive2, received2,
    complete, end, end_reply;
static struct { const char *name; Bytes *value; } templates[] = {
    {"hello_agent", &hello_agent}, {"hello_worker", &hello_worker}, {"ready", &ready},
    {"begin", &begin}, {"receive1", &receive1}, {"received1", &received1},
    {"receive2", &receive2}, {"received2", &received2}, {"complete", &complete},
    {"end", &end}, {"end_reply", &end_reply},
};

static char curve_server[64], curve_public[2][64], curve_secret[2][64];
static struct { const char *name; char *value; } keys[] = {
    {"curve_server", curve_server},
    {"curve_agent_public", curve_public[0]}, {"curve_agent_secret", curve_secret[0]},
    {"curve_worker_public", curve_public[1]}, {"curve_worker_secret", curve_secret[1]},
};
static int curve, packed = 1;
static uint64_t dialogs, messages, frames, next_dialog = 1;
static size_t hport_at;
static unsigned char agent_step[SLOTS_MAX], worker_step[SLOTS_MAX];
static unsigned char slot_dialog[SLOTS_MAX][16];

typedef struct {
    void *socket;
    unsigned char frame[FRAME_MAX + BODY_MAX + HEADER + 8];
    size_t used;
    int count;
    unsigned char route[256]; /* behind zmq_proxy the worker answers to the id that a message came with */
    size_t route_length;
} Peer;

static Peer agent, worker;

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, zmq_strerror(zmq_errno()));
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void flush(Peer *peer) {
    if (peer->used == 0) return;
    if (peer->route_length &&
        zmq_send(peer->socket, peer->route, peer->route_length, ZMQ_SNDMORE) < 0) die("send");
    if (zmq_send(peer->socket, peer->frame, peer->used, 0) < 0) die("send");
    peer->used = 0;
    peer->count = 0;
}

static void put(Peer *peer, int verb, const unsigned char *dialog, const Bytes *body) {
    unsigned char *at = peer->frame + peer->used;
    *at++ = 0x94;
    *at++ = (unsigned char)verb;
    if (dialog) {
        *at++ = 0xc4;
        *at++ = 16;
        memcpy(at, dialog, 16);
        at += 16;
        *at++ = 1;
    } else {
        *at++ = 0xc0;
        *at++ = 0;
    }
    if (body->length < 256) {
        *at++ = 0xc4;
    } else {
        *at++ = 0xc5;
        *at++ = (unsigned char)(body->length >> 8);
    }
    *at++ = (unsigned char)body->length;
    memcpy(at, body->bytes, body->length);
    at += body->length;
    peer->used = (size_t)(at - peer->frame);
    if (!packed || ++peer->count == FRAME_MESSAGES || peer->used > FRAME_MAX - BODY_MAX) flush(peer);
}

static void start_dialog(unsigned slot) {
    unsigned char *dialog = slot_dialog[slot];
    memset(dialog, 0, 16);
    memcpy(dialog, &next_dialog, sizeof next_dialog);
    next_dialog++;
    dialog[12] = (unsigned char)(slot >> 8);
    dialog[13] = (unsigned char)slot;
    char digits[8];
    snprintf(digits, sizeof digits, "%05u", slot);
    memcpy(begin.bytes + hport_at, digits, 5);
    agent_step[slot] = 0;
    put(&agent, BEGIN, dialog, &begin);
}

static unsigned slot_of(const unsigned char *dialog) {
    unsigned slot = (unsigned)dialog[12] << 8 | dialog[13];
    if (slot >= SLOTS_MAX) {
        fprintf(stderr, "load: a dialog that is not ours came back\n");
        exit(1);
    }
    return slot;
}

static void agent_hears(int verb, const unsigned char *dialog) {
    unsigned slot = slot_of(dialog);
    switch (verb) {
    case RECEIVE:
        put(&agent, RECEIVED, dialog, agent_step[slot]++ ? &received2 : &received1);
        break;
    case COMPLETE:
        put(&agent, END, dialog, &end);
        break;
    case END_REPLY:
        dialogs++;
        start_dialog(slot);
        break;
    default:
        fprintf(stderr, "load: the agent got verb %d\n", verb);
        exit(1);
    }
}

static void worker_hears(int verb, const unsigned char *dialog) {
    unsigned slot = slot_of(dialog);
    switch (verb) {
    case BEGIN:
        worker_step[slot] = 1;
        put(&worker, RECEIVE, dialog, &receive1);
        break;
    case RECEIVED:
        if (worker_step[slot]++ == 1) put(&worker, RECEIVE, dialog, &receive2);
        else put(&worker, COMPLETE, dialog, &complete);
        break;
    case END:
        put(&worker, END_REPLY, dialog, &end_reply);
        break;
    default:
        fprintf(stderr, "load: the worker got verb %d\n", verb);
        exit(1);
    }
}

static size_t body_end(const unsigned char *at, size_t left) {
    if (left >= 2 && at[0] == 0xc4) return 2u + at[1];
    if (left >= 3 && at[0] == 0xc5) return 3u + ((size_t)at[1] << 8 | at[2]);
    fprintf(stderr, "load: a body that this program can't read\n");
    exit(1);
}

/* Hand every message of a frame to the peer; session messages but PING are of no interest here. */
static void hear(Peer *peer, const unsigned char *at, size_t left) {
    static const Bytes nothing = {{0x81, 0xa7, 's', 'e', 'n', 't', '_', 'm', 's', 0}, 10};
    frames++;
    while (left > 4) {
        int verb = at[1];
        const unsigned char *dialog = at[2] == 0xc4 ? at + 4 : NULL;
        size_t header = dialog ? 2 + 2 + 16 + 1 : 2 + 1 + 1;
        size_t size = header + body_end(at + header, left - header);
        messages++;
        if (dialog && peer == &agent) agent_hears(verb, dialog);
        else if (dialog) worker_hears(verb, dialog);
        else if (verb == PING) put(peer, PONG, NULL, &nothing);
        else if (verb != PONG && verb != WELCOME) {
            fprintf(stderr, "load: session verb %d\n", verb);
            exit(1);
        }
        at += size;
        left -= size;
    }
}

static int drain(Peer *peer, int routed) {
    int got = 0;
    zmq_msg_t part;
    for (int i = 0; i < 256; i++) {
        zmq_msg_init(&part);
        if (zmq_msg_recv(&part, peer->socket, ZMQ_DONTWAIT) < 0) break;
        if (routed) {
            peer->route_length = zmq_msg_size(&part);
            memcpy(peer->route, zmq_msg_data(&part), peer->route_length);
            if (zmq_msg_recv(&part, peer->socket, 0) < 0) die("recv");
        }
        hear(peer, zmq_msg_data(&part), zmq_msg_size(&part));
        got = 1;
        zmq_msg_close(&part);
    }
    return got;
}

static void *open_socket(void *context, int type, const char *endpoint, int bind_it, int who) {
    void *socket = zmq_socket(context, type);
    int none = 0;
    zmq_setsockopt(socket, ZMQ_LINGER, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof none);
    zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none);
    if (curve && who >= 0) {
        zmq_setsockopt(socket, ZMQ_CURVE_SERVERKEY, curve_server, strlen(curve_server));
        zmq_setsockopt(socket, ZMQ_CURVE_PUBLICKEY, curve_public[who], strlen(curve_public[who]));
        zmq_setsockopt(socket, ZMQ_CURVE_SECRETKEY, curve_secret[who], strlen(curve_secret[who]));
    }
    if ((bind_it ? zmq_bind(socket, endpoint) : zmq_connect(socket, endpoint)) != 0) die(endpoint);
    return socket;
}

static void read_templates(void) {
    static char name[64], hex[2 * BODY_MAX + 1];
    while (scanf("%63s %8192s", name, hex) == 2) {
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
            if (strcmp(name, keys[i].name) == 0) {
                snprintf(keys[i].value, 64, "%.63s", hex);
                curve = 1;
            }
        for (size_t i = 0; i < sizeof templates / sizeof *templates; i++) {
            if (strcmp(name, templates[i].name) != 0) continue;
            Bytes *value = templates[i].value;
            for (value->length = 0; hex[2 * value->length]; value->length++)
                sscanf(hex + 2 * value->length, "%2hhx", value->bytes + value->length);
        }
    }
    for (size_t i = 0; i + 5 <= begin.length; i++)
        if (memcmp(begin.bytes + i, "00000", 5) == 0) { hport_at = i; return; }
    fprintf(stderr, "load: the BEGIN template has no 00000 to number the port\n");
    exit(1);
}

static void greet(Peer *peer, const Bytes *hello) {
    unsigned char answer[4096];
    if (zmq_send(peer->socket, hello->bytes, hello->length, 0) < 0) die("hello");
    int got = zmq_recv(peer->socket, answer, sizeof answer, 0);
    if (got < 2 || answer[1] != WELCOME) {
        fprintf(stderr, "load: not welcome (verb %d)\n", got < 2 ? -1 : answer[1]);
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc != 6) {
        fprintf(stderr, "usage: load relay|single|direct|proxy AGENTS WORKERS IN_FLIGHT SECONDS\n");
        return 2;
    }
    void *context = zmq_ctx_new();
    const char *mode = argv[1];
    unsigned in_flight = (unsigned)atoi(argv[4]);
    double seconds = atof(argv[5]);
    if (strcmp(mode, "proxy") == 0) {
        void *front = open_socket(context, ZMQ_ROUTER, argv[2], 1, -1);
        void *back = open_socket(context, ZMQ_DEALER, argv[3], 1, -1);
        zmq_proxy(front, back, NULL);
        return 0;
    }
    int relay = strcmp(mode, "relay") == 0, single = strcmp(mode, "single") == 0;
    if (in_flight > SLOTS_MAX) return 2;
    read_templates();
    packed = !single;
    worker.socket = open_socket(context, ZMQ_DEALER, relay || single ? argv[3] : argv[2], !relay && !single, 1);
    agent.socket = open_socket(context, ZMQ_DEALER, argv[2], 0, 0);
    if (relay) {
        greet(&worker, &hello_worker);
        greet(&agent, &hello_agent);
        put(&worker, 3, NULL, &ready);
        flush(&worker);
    }
    for (unsigned slot = 0; slot < in_flight; slot++) start_dialog(slot);
    flush(&agent);
    double warm_until = now() + 0.2, started = 0, ends = 0;
    for (;;) {
        int busy = drain(&agent, 0);
        flush(&agent);
        busy |= drain(&worker, single);
        flush(&worker);
        double t = now();
        if (!started && t > warm_until) {
            dialogs = messages = frames = 0;
            started = t;
            ends = t + seconds;
        }
        if (started && t > ends) {
            printf("{\"dialogs\": %" PRIu64 ", \"seconds\": %.6f, \"messages\": %" PRIu64
                   ", \"frames\": %" PRIu64 "}\n", dialogs, t - started, messages, frames);
            return 0;
        }
        if (!busy) {
            zmq_pollitem_t items[] = {{agent.socket, 0, ZMQ_POLLIN, 0}, {worker.socket, 0, ZMQ_POLLIN, 0}};
            if (zmq_poll(items, 2, 2000) == 0) {
                fprintf(stderr, "load: nothing came for 2 s\n");
                return 1;
            }
        }
    }
}
