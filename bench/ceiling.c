/* ceiling: how fast the technique can be at all.
 *
 *     cc -O2 -o ceiling ceiling.c
 *     ceiling 9000            then: wsload --port 9000 --n 1000
 *     ceiling 9000 100        then: wsload --port 9000 --n 1000 --channels 100 --path /%d
 *
 * A WebSocket server on loopback, one thread, that repeats to a room what anybody in it says; which room of how many that
 * is, tells the number at the end of the path.  It does what makes the chat server fast (all that has come in one turn of
 * the loop is one batch, framed once, and each member gets it in one send()), in C, and nothing else: what it delivers is
 * what is left when a message costs nothing but the kernel's work.
 *
 * It lacks all that a server is for: names, tokens, a log, limits, deadlines, checks of UTF-8, fragments, pings, the close
 * handshake, and any look at other headers.  Whoever is OUTBOX_ROOM behind is dropped. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FRAME_ROOM = (1 << 16) + 16, READ_ROOM = 1 << 17, OUTBOX_ROOM = 1 << 22 };

struct buffer {
    uint8_t *bytes;
    size_t length, room;
};

struct room {
    struct member **members;
    size_t count, space;
    struct buffer batch;
    int touched; /* it has a batch, or somebody has gone: it is looked at when the turn ends */
};

struct member {
    int fd, waiting, gone; /* until it can be written to; to be freed when the turn ends */
    struct room *room;     /* once it has shaken hands; until then it is in the lobby */
    struct buffer in, outbox;
};

static struct room *rooms, lobby, **touched;
static size_t room_count = 1, touched_count;
static int poller;

static void check(int right, const char *what) {
    if (!right)
        err(1, "%s", what);
}

static void append(struct buffer *to, const void *bytes, size_t length) {
    if (!length)
        return;
    if (to->length + length > to->room) {
        to->room = (to->length + length) * 2;
        to->bytes = realloc(to->bytes, to->room);
        check(to->bytes != NULL, "memory");
    }
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
}

static void touch(struct room *room) {
    if (!room->touched)
        touched[touched_count++] = room;
    room->touched = 1;
}

static void leave(struct member *m) {
    m->gone = 1;
    touch(m->room);
}

static void enter(struct room *room, struct member *m) {
    if (room->count == room->space)
        room->members = realloc(room->members, (room->space = room->space * 2 + 16) * sizeof *room->members);
    check(room->members != NULL, "memory");
    room->members[room->count++] = m;
    m->room = room;
}

/* ---- The handshake's proof: base64(SHA-1(key + GUID)), RFC 6455 section 4.2.2 ---- */

#define ROTATED(word, bits) ((word) << (bits) | (word) >> (32 - (bits)))

/* FIPS 180-4, for 60 bytes: padded they are two blocks. */
static void sha1_of_60(const uint8_t *message, uint8_t *digest) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t padded[128] = {[60] = 0x80, [126] = 60 * 8 >> 8, [127] = 60 * 8 & 255};
    memcpy(padded, message, 60);
    for (const uint8_t *block = padded; block < padded + 128; block += 64) {
        uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];
        for (int i = 0; i < 80; i++) {
            const uint8_t *p = block + 4 * i;
            w[i] = i < 16 ? (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]
                          : ROTATED(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
            uint32_t mixed = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                             : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                             : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                                      : (b ^ c ^ d) + 0xca62c1d6;
            uint32_t next = ROTATED(a, 5) + mixed + e + w[i];
            e = d, d = c, c = ROTATED(b, 30), b = a, a = next;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e;
    }
    for (int i = 0; i < 20; i++)
        digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/* 20 bytes are 27 digits and one "=". */
static void base64_of_20(const uint8_t *bytes, char *text) {
    const char *digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int i = 0; i < 27; i++) {
        int at = i * 6 / 8, pair = bytes[at] << 8 | (at < 19 ? bytes[at + 1] : 0);
        text[i] = digits[pair >> (10 - i * 6 % 8) & 63];
    }
    strcpy(text + 27, "=");
}

/* How many bytes the request took: 0 while it is not whole. */
static size_t shake_hands(struct member *m, char *request, size_t length) {
    uint8_t digest[20];
    char proof[61], accept[29], answer[200], *end = memmem(request, length, "\r\n\r\n", 4);
    if (!end)
        return 0;
    *end = 0;
    char *line = strcasestr(request, "\r\nSec-WebSocket-Key: ");
    char *target = strchr(request, '/');
    if (!target || !line || strlen(line) < 21 + 24) {
        leave(m);
        return length;
    }
    snprintf(proof, sizeof proof, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", line + 21);
    sha1_of_60((uint8_t *)proof, digest);
    base64_of_20(digest, accept);
    int bytes = sprintf(answer, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                "Sec-WebSocket-Accept: %s\r\n\r\n", accept);
    target[strcspn(target, " ")] = 0;
    for (size_t i = 0; i < lobby.count; i++)
        if (lobby.members[i] == m)
            lobby.members[i] = lobby.members[--lobby.count];
    enter(&rooms[(size_t)atol(target + strcspn(target, "0123456789")) % room_count], m);
    if (send(m->fd, answer, (size_t)bytes, 0) != bytes)
        leave(m);
    return (size_t)(end - request) + 4;
}

/* ---- Receiving ---- */

static void append_frame(struct buffer *to, const uint8_t *text, size_t length) {
    uint8_t head[2] = {0x81, (uint8_t)length};
    uint8_t longer[4] = {0x81, 126, (uint8_t)(length >> 8), (uint8_t)length};
    append(to, length > 125 ? longer : head, length > 125 ? 4 : 2);
    append(to, text, length);
}

/* Put the texts of whole frames into the batch; how many bytes these took. */
static size_t read_frames(struct member *m, uint8_t *bytes, size_t length) {
    size_t done = 0;
    while (length - done >= 6) {
        uint8_t *head = bytes + done;
        size_t text_length = head[1] & 127, head_length = text_length == 126 ? 8 : 6;
        if (!(head[1] & 128) || text_length == 127 || (head[0] & 15) == 8) {
            leave(m);
            break;
        }
        if (text_length == 126)
            text_length = (size_t)head[2] << 8 | head[3];
        if (length - done < head_length + text_length)
            break;
        uint8_t *text = head + head_length, *mask = text - 4;
        for (size_t i = 0; i < text_length; i++)
            text[i] ^= mask[i & 3];
        if ((head[0] & 15) == 1) {
            append_frame(&m->room->batch, text, text_length);
            touch(m->room);
        }
        done += head_length + text_length;
    }
    return done;
}

static void on_readable(struct member *m) {
    static uint8_t bytes[FRAME_ROOM + READ_ROOM];
    size_t length = m->in.length, done = 0;
    if (length)
        memcpy(bytes, m->in.bytes, length);
    ssize_t got = recv(m->fd, bytes + length, READ_ROOM, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            leave(m);
        return;
    }
    length += (size_t)got;
    if (m->room == &lobby)
        done = shake_hands(m, (char *)bytes, length);
    if (m->room != &lobby && !m->gone)
        done += read_frames(m, bytes + done, length - done);
    m->in.length = 0;
    append(&m->in, bytes + done, length - done);
    if (m->in.length > FRAME_ROOM)
        leave(m); /* no frame of ours is as long */
}

/* ---- Sending ---- */

/* What the kernel does not take at once waits in the outbox. */
static void send_or_keep(struct member *m, const uint8_t *bytes, size_t length) {
    ssize_t taken = m->waiting ? 0 : send(m->fd, bytes, length, 0);
    if (taken == (ssize_t)length)
        return;
    if (taken < 0 && errno != EAGAIN)
        leave(m);
    taken = taken < 0 ? 0 : taken;
    append(&m->outbox, bytes + taken, length - (size_t)taken);
    if (m->outbox.length > OUTBOX_ROOM)
        leave(m);
    m->waiting = 1;
    epoll_ctl(poller, EPOLL_CTL_MOD, m->fd, &(struct epoll_event){EPOLLIN | EPOLLOUT, {m}});
}

static void on_writable(struct member *m) {
    struct buffer kept = m->outbox;
    m->outbox = (struct buffer){0};
    m->waiting = 0;
    epoll_ctl(poller, EPOLL_CTL_MOD, m->fd, &(struct epoll_event){EPOLLIN, {m}});
    send_or_keep(m, kept.bytes, kept.length);
    free(kept.bytes);
}

static void forget(struct member *m) {
    close(m->fd);
    free(m->in.bytes);
    free(m->outbox.bytes);
    free(m);
}

/* Everybody in the room gets the batch; who is gone is forgotten, now that no event points there. */
static void end_turn_of(struct room *room) {
    size_t staying = 0;
    for (size_t i = 0; i < room->count; i++)
        if (room->batch.length && !room->members[i]->gone)
            send_or_keep(room->members[i], room->batch.bytes, room->batch.length);
    for (size_t i = 0; i < room->count; i++) {
        struct member *m = room->members[i];
        if (!m->gone)
            room->members[staying++] = m;
        else
            forget(m);
    }
    room->count = staying;
    room->batch.length = 0;
    room->touched = 0;
}

static void end_turn(void) {
    for (size_t i = 0; i < touched_count; i++)
        end_turn_of(touched[i]);
    touched_count = 0;
}

static void welcome(int listener) {
    int one = 1;
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct member *m = calloc(1, sizeof *m);
        check(m != NULL, "memory");
        m->fd = fd;
        enter(&lobby, m);
        check(!epoll_ctl(poller, EPOLL_CTL_ADD, fd, &(struct epoll_event){EPOLLIN, {m}}), "epoll_ctl");
    }
}

int main(int argc, char **argv) {
    static struct epoll_event events[4096];
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct rlimit descriptors;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (argc != 2 && argc != 3)
        errx(1, "usage: ceiling PORT [ROOMS]");
    if (argc == 3 && (room_count = (size_t)atol(argv[2])) < 1)
        errx(1, "ROOMS is a number from 1 on");
    rooms = calloc(room_count, sizeof *rooms);
    touched = calloc(room_count + 1, sizeof *touched);
    check(rooms && touched, "memory");
    getrlimit(RLIMIT_NOFILE, &descriptors);
    setrlimit(RLIMIT_NOFILE, &(struct rlimit){descriptors.rlim_max, descriptors.rlim_max});
    signal(SIGPIPE, SIG_IGN);
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    check(!bind(listener, (struct sockaddr *)&address, sizeof address) && !listen(listener, 4096), "listen");
    poller = epoll_create1(0);
    check(!epoll_ctl(poller, EPOLL_CTL_ADD, listener, &(struct epoll_event){EPOLLIN, {NULL}}), "epoll_ctl");
    for (;;) {
        int count = epoll_wait(poller, events, sizeof events / sizeof *events, -1);
        for (int i = 0; i < count; i++) {
            struct member *m = events[i].data.ptr;
            if (!m)
                welcome(listener);
            else if (events[i].events & ~(uint32_t)EPOLLOUT)
                on_readable(m);
            if (m && m->waiting && events[i].events & EPOLLOUT)
                on_writable(m);
        }
        end_turn();
    }
}
