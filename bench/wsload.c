/* wsload: load for WebSocket servers that repeat to everybody what one says.  One thread, epoll, loopback only.
 *
 *     cc -O2 -o wsload wsload.c
 *     wsload --port 8000 --path /chat/ws --headers tokens --n 1000 --senders 4 --window 8 --pid 4711
 *
 * It opens --n clients, waits until what they hear about each other has died down, measures, and prints one line of JSON.
 *
 * fanout    Each of --senders clients keeps --window messages in flight: as one comes back, the next goes out.  Counts
 *           what all clients together get per second (`delivered_s`), and what a sender waits for its own message.
 * latency   One client says --rate messages a second.  The way to each client is a sample.
 * connect   Nobody says anything: handshakes per second, memory per connection, CPU at rest.
 *
 * A message is "#client:number:nanoseconds#" and letters up to --size.  All clocks are this program's own.  `lost` is what
 * should have come and did not within 10 s: a message is due at every client of its channel that is open when it is said.
 *
 * The figures in `*_cpu` are cores (1.00 is one core kept busy): of the server's tree of processes, of this program, and of
 * all others on the machine (time stolen by a hypervisor included).  Without --pid what concerns the server is null; with
 * several, `srv_cpu_1` and so on are of each, in their order.
 *
 * Several of these programs can be one load, each in a network namespace of its own, as on hosts: --first gives each one's
 * clients other numbers.  What other clients say is delivered (`from_others`), and sampled, for all clocks of a machine are
 * one; but only what is said here can be lost.  --wait has all begin, and hang up, together: each says "ready" on standard
 * error, measures when a line comes on standard input, prints its figures, and keeps its clients until another one comes, or
 * the end. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;

/* ---- Options: their values are the defaults ---- */

enum { ALONE = -1 }; /* without --first: whatever is said, one of these clients has said it */

static char *host = "127.0.0.1", *path = "/", *headers_file = NULL, *protocol = "text", *channel = "lobby";
static char *mode = "fanout", *label = "", *pids = "";
static int port = 8000, clients = 10, channels = 1, handshakes = 64, first = ALONE, wait_for_word = 0;
static int senders = 4, window = 8, rotate = 0, size = 64, stalled = 0, poll_us = 0;
static double duration = 3, warm_up = 1, rate = 20, idle = 2, quiet = 0.3, settle = 60, connect_timeout = 120;

enum kind { TEXT, WHOLE, REAL, FLAG };

static const struct {
    const char *name, *value;
    enum kind kind;
    void *to;
    const char *help;
} OPTIONS[] = {
    {"host", "ADDRESS", TEXT, &host, "the server, within 127.0.0.0/8"},
    {"port", "P", WHOLE, &port, "its port"},
    {"path", "PATH", TEXT, &path, "what is asked for; %d becomes the client's number"},
    {"headers", "FILE", TEXT, &headers_file, "lines for the handshakes, one a client"},
    {"protocol", "NAME", TEXT, &protocol, "text, chatv1 (JSON of chat.v1) or socketio"},
    {"pid", "PID,...", TEXT, &pids, "the server's processes; their children count too"},
    {"label", "TEXT", TEXT, &label, "repeated in the JSON"},
    {"mode", "MODE", TEXT, &mode, "fanout, latency or connect"},
    {"n", "N", WHOLE, &clients, "clients"},
    {"first", "K", WHOLE, &first, "the number of the first one, where other programs have clients with other numbers"},
    {"wait", NULL, FLAG, &wait_for_word, "say \"ready\", and measure, and end, when a line comes on standard input"},
    {"channels", "K", WHOLE, &channels, "the i-th client here is in channel i % K"},
    {"channel", "NAME", TEXT, &channel, "of the frames of chatv1; %d becomes the channel's number"},
    {"stalled", "K", WHOLE, &stalled, "the last K clients never read; see stalled_closed"},
    {"size", "BYTES", WHOLE, &size, "of a message, without JSON; at least its head of some 30"},
    {"senders", "S", WHOLE, &senders, "fanout: clients that send, spread over the channels"},
    {"window", "W", WHOLE, &window, "fanout: messages in flight for each of them"},
    {"rotate", NULL, FLAG, &rotate, "fanout: as one comes back, the next client in turn sends; S * W in flight"},
    {"poll", "MICROSECONDS", WHOLE, &poll_us, "fanout, latency: look so often, and never sleep, so that no write has to wake it"},
    {"rate", "R", REAL, &rate, "latency: messages a second"},
    {"warmup", "SECONDS", REAL, &warm_up, "fanout, latency: load that is not measured"},
    {"dur", "SECONDS", REAL, &duration, "fanout, latency: load that is"},
    {"idle", "SECONDS", REAL, &idle, "connect: rest before memory is read"},
    {"inflight", "K", WHOLE, &handshakes, "handshakes at a time"},
    {"conn-timeout", "SECONDS", REAL, &connect_timeout, "for all handshakes"},
    {"quiet", "SECONDS", REAL, &quiet, "silence after them, before anything is measured"},
    {"settle", "SECONDS", REAL, &settle, "longest wait for that silence"},
};
enum { OPTION_COUNT = sizeof OPTIONS / sizeof *OPTIONS };

static int chatv1, socketio; /* the protocol */

/* ---- Clients ---- */

enum state { CONNECTING, SHAKING_HANDS, AWAITING_WELCOME, SIO_OPENING, SIO_JOINING, OPEN, STALLED, DEAD };

struct client {
    int fd, index;
    enum state state;
    u8 *in, *out; /* the beginning of a frame that has not come whole; what the kernel did not take yet */
    u32 in_length, in_room, out_length, out_room;
    u32 in_flight; /* messages said and not come back: only while there are any it need look whose a message is */
    u64 said, returned;
};

enum {
    BIGGEST_MESSAGE = 65536,
    READ_ROOM = 1 << 18, /* one read; a frame may fill half of it */
    STALLED_RCVBUF = 2048,
    STALLED_PATIENCE = 8, /* seconds to read out those that never read */
    MOST_PIDS = 32,
    LOSS_PATIENCE = 10,   /* seconds until a message that is due is lost */
};

static struct client *all;
static int *listeners; /* per channel: clients that are open and read */
static char **headers;
static int header_count;
static int poller;
static int pid[MOST_PIDS], pid_count;
static int open_count, dead_count, handshake_count, stalled_count, stalled_closed;
static u64 delivered, expected, frames, bad_frames, bytes_in, came_back;
static u64 from_others; /* with --first: delivered, but said by none of these */
static int keep_sending, sample_all, sample_own;
static int turn_of; /* with --rotate: who sends next */

/* Latencies in tenths of a microsecond: 32 bits hold seven minutes. */
static u32 *samples;
static u64 sample_count, sample_room;

static u64 now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static double seconds_since(u64 start) {
    return (double)(now_ns() - start) / 1e9;
}

static void refuse(const char *form, ...) {
    va_list values;
    va_start(values, form);
    fputs("wsload: ", stderr);
    vfprintf(stderr, form, values);
    fputc('\n', stderr);
    va_end(values);
    exit(1);
}

static void fail(const char *what) {
    fprintf(stderr, "wsload: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int number_of(const struct client *c) {
    return first == ALONE ? c->index : first + c->index;
}

static void *grown(void *memory, size_t bytes) {
    void *new = realloc(memory, bytes);
    if (!new)
        fail("memory");
    return new;
}

/* `pattern` with the number in place of its first %d; of the caller. */
static char *filled_in(const char *pattern, int number) {
    const char *mark = strstr(pattern, "%d");
    char *text;
    int length = mark ? asprintf(&text, "%.*s%d%s", (int)(mark - pattern), pattern, number, mark + 2)
                      : asprintf(&text, "%s", pattern);
    if (length < 0)
        fail("memory");
    return text;
}

/* ---- What the machine does meanwhile ---- */

struct usage {
    double server, own, all; /* CPU seconds */
    double each[MOST_PIDS];  /* of `server` */
    u64 at;                  /* nanoseconds */
};

static double ticks(unsigned long count) {
    return (double)count / (double)sysconf(_SC_CLK_TCK);
}

/* Adds up a process and all below it. */
static void weigh(int process, long *rss_kb, double *cpu, int depth) {
    char name[300], line[4096];
    snprintf(name, sizeof name, "/proc/%d/status", process);
    FILE *file = fopen(name, "r");
    if (!file)
        return;
    long kb;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "VmRSS: %ld", &kb) == 1)
            *rss_kb += kb;
    fclose(file);

    snprintf(name, sizeof name, "/proc/%d/stat", process);
    if ((file = fopen(name, "r"))) {
        unsigned long user, system;
        const char *rest = fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
        const char *form = "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu";
        if (rest && sscanf(rest + 2, form, &user, &system) == 2)
            *cpu += ticks(user + system);
        fclose(file);
    }
    snprintf(name, sizeof name, "/proc/%d/task", process);
    DIR *tasks = depth < 5 ? opendir(name) : NULL;
    if (!tasks)
        return;
    for (struct dirent *task; (task = readdir(tasks));) {
        if (task->d_name[0] == '.')
            continue;
        snprintf(name, sizeof name, "/proc/%d/task/%s/children", process, task->d_name);
        if (!(file = fopen(name, "r")))
            continue;
        for (int child; fscanf(file, "%d", &child) == 1;)
            weigh(child, rss_kb, cpu, depth + 1);
        fclose(file);
    }
    closedir(tasks);
}

static long server_rss(void) {
    long rss = 0;
    double cpu = 0;
    for (int i = 0; i < pid_count; i++)
        weigh(pid[i], &rss, &cpu, 0);
    return rss;
}

/* user, nice, system, irq, softirq, steal: all but idle and waiting for a disk. */
static double machine_cpu(void) {
    unsigned long v[8] = {0};
    FILE *file = fopen("/proc/stat", "r");
    const char *form = "cpu %lu %lu %lu %lu %lu %lu %lu %lu";
    if (!file || fscanf(file, form, v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6, v + 7) < 8)
        fail("/proc/stat");
    fclose(file);
    return ticks(v[0] + v[1] + v[2] + v[5] + v[6] + v[7]);
}

static struct usage usage_now(void) {
    struct rusage own;
    getrusage(RUSAGE_SELF, &own);
    double user = (double)own.ru_utime.tv_sec + (double)own.ru_utime.tv_usec / 1e6;
    double system = (double)own.ru_stime.tv_sec + (double)own.ru_stime.tv_usec / 1e6;
    struct usage usage = {.own = user + system};
    for (int i = 0; i < pid_count; i++) {
        long rss = 0;
        weigh(pid[i], &rss, &usage.each[i], 0);
        usage.server += usage.each[i];
    }
    usage.all = machine_cpu();
    usage.at = now_ns();
    return usage;
}

/* In cores, from `start` to `end`; `at` is the time between. */
static struct usage cores(struct usage start, struct usage end) {
    double elapsed = (double)(end.at - start.at) / 1e9;
    struct usage used = {(end.server - start.server) / elapsed, (end.own - start.own) / elapsed,
                         (end.all - start.all) / elapsed, {0}, end.at - start.at};
    for (int i = 0; i < pid_count; i++)
        used.each[i] = (end.each[i] - start.each[i]) / elapsed;
    return used;
}

/* ---- One line of JSON ---- */

/* What concerns the server is not known without its process. */
static void print_server_figure(const char *key, int digits, double value) {
    if (pid_count)
        printf(",\"%s\":%.*f", key, digits, value);
    else
        printf(",\"%s\":null", key);
}

static void print_usage_of(const char *prefix, struct usage used) {
    char server[32], other[32];
    snprintf(server, sizeof server, "%ssrv_cpu", prefix);
    snprintf(other, sizeof other, "%sother_cpu", prefix);
    print_server_figure(server, 3, used.server);
    for (int i = 0; pid_count > 1 && i < pid_count; i++)
        printf(",\"%s_%d\":%.3f", server, i + 1, used.each[i]);
    printf(",\"%scli_cpu\":%.3f", prefix, used.own);
    print_server_figure(other, 3, used.all - used.server - used.own);
}

static int by_size(const void *one, const void *two) {
    u32 a = *(const u32 *)one, b = *(const u32 *)two;
    return (a > b) - (a < b);
}

/* Of sorted samples, in milliseconds; -1 without any. */
static double percentile(double part) {
    return sample_count ? samples[(u64)(part * (double)(sample_count - 1))] / 1e4 : -1;
}

static void take_sample(u64 said, u64 now) {
    if (sample_count == sample_room) {
        sample_room = sample_room ? sample_room * 2 : 1 << 16;
        samples = grown(samples, sample_room * sizeof *samples);
    }
    u64 tenths = now > said ? (now - said) / 100 : 0;
    samples[sample_count++] = tenths > UINT32_MAX ? UINT32_MAX : (u32)tenths;
}

/* ---- Sending ---- */

static int is_stalled(const struct client *c) {
    return c->index >= clients - stalled;
}

static void bury(struct client *c) {
    if (c->state == DEAD)
        return;
    int was_open = c->state == OPEN || c->state == STALLED;
    c->state = DEAD;
    close(c->fd);
    *(was_open ? &open_count : &handshake_count) -= 1;
    if (was_open && is_stalled(c)) {
        stalled_closed++;
        return;
    }
    dead_count++;
    if (was_open)
        listeners[c->index % channels]--;
}

static void watch(struct client *c, int change, u32 events) {
    struct epoll_event event = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, change, c->fd, &event))
        fail("epoll_ctl");
}

static void send_bytes(struct client *c, const u8 *bytes, u32 length) {
    if (c->state == DEAD)
        return;
    if (!c->out_length) {
        ssize_t taken = send(c->fd, bytes, length, 0);
        if (taken == (ssize_t)length)
            return;
        if (taken < 0) {
            if (errno != EAGAIN) {
                bury(c);
                return;
            }
            taken = 0;
        }
        bytes += taken;
        length -= (u32)taken;
        watch(c, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
    }
    if (c->out_length + length > c->out_room) {
        c->out_room = (c->out_length + length) * 2;
        c->out = grown(c->out, c->out_room);
    }
    memcpy(c->out + c->out_length, bytes, length);
    c->out_length += length;
}

static void on_writable(struct client *c) {
    ssize_t taken = send(c->fd, c->out, c->out_length, 0);
    if (taken < 0) {
        if (errno != EAGAIN)
            bury(c);
        return;
    }
    c->out_length -= (u32)taken;
    memmove(c->out, c->out + taken, c->out_length);
    if (!c->out_length)
        watch(c, EPOLL_CTL_MOD, EPOLLIN);
}

/* At most BIGGEST_MESSAGE and the JSON around it. */
static void send_frame(struct client *c, int opcode, const char *payload, u32 length) {
    static u8 frame[BIGGEST_MESSAGE * 2];
    static u32 random = 0x9e3779b9;
    u32 n = 0;
    frame[n++] = (u8)(0x80 | opcode);
    if (length < 126) {
        frame[n++] = (u8)(0x80 | length);
    } else if (length < 65536) {
        frame[n++] = 0x80 | 126;
        frame[n++] = (u8)(length >> 8);
        frame[n++] = (u8)length;
    } else {
        frame[n++] = 0x80 | 127;
        for (int shift = 56; shift >= 0; shift -= 8)
            frame[n++] = (u8)((u64)length >> shift);
    }
    random = random * 1664525u + 1013904223u;
    u8 *mask = frame + n;
    memcpy(mask, &random, 4);
    n += 4;
    for (u32 i = 0; i < length; i++)
        frame[n + i] = (u8)payload[i] ^ mask[i & 3];
    send_bytes(c, frame, n + length);
}

static void say(struct client *c) {
    static char message[BIGGEST_MESSAGE + 1024];
    int n = 0;
    u64 now = now_ns();
    if (socketio) {
        n = sprintf(message, "42[\"chat\",\"");
    } else if (chatv1) {
        n = sprintf(message, "{\"type\":\"publish\",\"channel\":\"");
        const char *mark = strstr(channel, "%d");
        n += mark ? sprintf(message + n, "%.*s%d%s", (int)(mark - channel), channel, c->index % channels, mark + 2)
                  : sprintf(message + n, "%s", channel);
        n += sprintf(message + n, "\",\"id\":\"%" PRIx64 "-%d-%" PRIu64 "\",\"text\":\"", now, number_of(c), c->said);
    }
    int start = n;
    n += sprintf(message + n, "#%d:%" PRIu64 ":%" PRIu64 "#", number_of(c), c->said, now);
    for (; n - start < size; n++)
        message[n] = (char)('a' + n % 26);
    if (socketio || chatv1) {
        message[n++] = '"';
        message[n++] = socketio ? ']' : '}';
    }
    c->said++;
    c->in_flight++;
    expected += (u64)listeners[c->index % channels];
    send_frame(c, 1, message, (u32)n);
}

/* The next client that reads and can send; NULL when there is none. */
static struct client *next_in_turn(void) {
    for (int tried = 0; tried < clients - stalled; tried++) {
        struct client *c = &all[turn_of];
        turn_of = (turn_of + 1) % (clients - stalled);
        if (c->state == OPEN)
            return c;
    }
    return NULL;
}

static void say_next(struct client *c) {
    if (rotate)
        c = next_in_turn();
    if (c)
        say(c);
}

/* ---- Receiving ---- */

static void on_open(struct client *c) {
    handshake_count--;
    open_count++;
    c->state = OPEN;
    if (is_stalled(c)) {
        c->state = STALLED;
        stalled_count++;
        watch(c, EPOLL_CTL_DEL, 0);
    } else {
        listeners[c->index % channels]++;
    }
}

/* "#client:number:nanoseconds#", from behind the first #; 0 when it is not that. */
static int read_head(const u8 *p, const u8 *end, u64 *values) {
    int k = 0;
    values[0] = values[1] = values[2] = 0;
    for (; p < end && k < 3; p++) {
        if (*p >= '0' && *p <= '9')
            values[k] = values[k] * 10 + (*p - '0');
        else if (*p == ':')
            k++;
        else
            break;
    }
    return k == 2 && p < end && *p == '#';
}

static int is_one_of_ours(u64 number) {
    return first == ALONE || (number >= (u64)first && number < (u64)first + (u64)clients);
}

static void on_message(struct client *c, const u8 *head, const u8 *end, u64 now) {
    u64 values[3];
    int looks = c->in_flight || sample_all || first != ALONE, is_whole = looks && read_head(head, end, values);
    *(is_whole && !is_one_of_ours(values[0]) ? &from_others : &delivered) += 1;
    if (!looks)
        return;
    if (!is_whole) {
        bad_frames++;
        return;
    }
    int own = values[0] == (u64)number_of(c);
    if (sample_all || (own && sample_own))
        take_sample(values[2], now);
    if (own) {
        came_back++;
        c->returned++;
        c->in_flight--;
        if (keep_sending)
            say_next(c);
    }
}

static void on_text(struct client *c, const u8 *text, u32 length, u64 now) {
    if (c->state == AWAITING_WELCOME) {
        if (memmem(text, length, "\"welcome\"", 9))
            on_open(c);
    } else if (c->state == SIO_OPENING) {
        if (length && text[0] == '0') {
            send_frame(c, 1, "40", 2);
            c->state = SIO_JOINING;
        }
    } else if (c->state == SIO_JOINING && length >= 2 && !memcmp(text, "40", 2)) {
        on_open(c);
    } else if (socketio && length == 1 && text[0] == '2') {
        send_frame(c, 1, "3", 1);
    } else {
        const u8 *mark = memchr(text, '#', length);
        if (mark)
            on_message(c, mark + 1, text + length, now);
        else if (chatv1 && length < 120 && memmem(text, length, "\"ping\"", 6))
            send_frame(c, 1, "{\"type\":\"pong\"}", 15);
    }
}

/* How many bytes of the answer to the handshake could be used: all of it or, as yet, none. */
static u32 on_answer(struct client *c, const u8 *bytes, u32 length) {
    const u8 *end = memmem(bytes, length, "\r\n\r\n", 4);
    if (!end) {
        if (length > 65536)
            bury(c);
        return 0;
    }
    u32 head = (u32)(end - bytes) + 4;
    if (memcmp(bytes + 9, "101", 3) || !memmem(bytes, head, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28)) {
        if (dead_count < 3)
            fprintf(stderr, "wsload: handshake refused: %.*s\n", (int)(length > 400 ? 400 : length), bytes);
        bury(c);
    } else if (socketio) {
        c->state = SIO_OPENING;
    } else if (chatv1) {
        c->state = AWAITING_WELCOME;
    } else {
        on_open(c);
    }
    return head;
}

static void on_frame(struct client *c, int opcode, const u8 *payload, u32 length, u64 now) {
    frames++;
    if (opcode <= 2)
        on_text(c, payload, length, now);
    else if (opcode == 9)
        send_frame(c, 10, (const char *)payload, length);
    else if (opcode == 8)
        bury(c);
    else if (opcode != 10)
        bad_frames++;
}

/* How many bytes were whole frames. */
static u32 parse(struct client *c, const u8 *bytes, u32 length, u64 now) {
    u32 done = c->state == SHAKING_HANDS ? on_answer(c, bytes, length) : 0;
    while (length - done >= 2 && c->state != SHAKING_HANDS && c->state != STALLED && c->state != DEAD) {
        const u8 *head = bytes + done;
        u64 payload = head[1] & 127;
        u32 head_length = payload == 127 ? 10 : payload == 126 ? 4 : 2;
        if (length - done < head_length)
            break;
        if (head_length > 2) {
            payload = 0;
            for (u32 i = 2; i < head_length; i++)
                payload = payload << 8 | head[i];
        }
        if (head[1] & 128 || payload > READ_ROOM / 2 - 10) {
            fprintf(stderr, "wsload: a frame that is masked or too big\n");
            bad_frames++;
            bury(c);
            break;
        }
        if (length - done - head_length < payload)
            break;
        on_frame(c, head[0] & 15, head + head_length, (u32)payload, now);
        done += head_length + (u32)payload;
    }
    return done;
}

static void on_readable(struct client *c) {
    static u8 bytes[READ_ROOM];
    memcpy(bytes, c->in, c->in_length);
    ssize_t got = recv(c->fd, bytes + c->in_length, sizeof bytes - c->in_length, 0);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN)
            return;
        bury(c);
        return;
    }
    bytes_in += (u64)got;
    u32 length = c->in_length + (u32)got;
    u32 done = parse(c, bytes, length, c->in_flight || sample_all ? now_ns() : 0);
    c->in_length = length - done;
    if (c->in_length > c->in_room) {
        c->in_room = c->in_length * 2;
        c->in = grown(c->in, c->in_room);
    }
    memcpy(c->in, bytes + done, c->in_length);
}

/* ---- Connecting ---- */

static void start_client(int index) {
    struct client *c = &all[index];
    struct linger reset = {1, 0};
    int one = 1, small = STALLED_RCVBUF;
    c->index = index;
    c->in = grown(NULL, c->in_room = 128); /* so that nothing is ever copied from or to NULL */
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0)
        fail("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (is_stalled(c))
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small); /* before connect: it sets the window */
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, host, &server.sin_addr);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) && errno != EINPROGRESS)
        fail("connect");
    c->state = CONNECTING;
    handshake_count++;
    watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static void on_connected(struct client *c) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        if (dead_count < 3)
            fprintf(stderr, "wsload: connect: %s\n", strerror(error));
        bury(c);
        return;
    }
    char *request, *target = filled_in(path, number_of(c));
    const char *header = header_count ? headers[c->index % header_count] : NULL;
    int bytes = asprintf(&request,
                         "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s\r\n",
                         target, host, port, header ? header : "", header ? "\r\n" : "");
    if (bytes < 0)
        fail("memory");
    c->state = SHAKING_HANDS;
    watch(c, EPOLL_CTL_MOD, EPOLLIN);
    send_bytes(c, (u8 *)request, (u32)bytes);
    free(request);
    free(target);
}

/* ---- The loop ---- */

static void turn(int patience_ms) {
    static struct epoll_event events[2048];
    int count = epoll_wait(poller, events, sizeof events / sizeof *events, patience_ms);
    for (int i = 0; i < count; i++) {
        struct client *c = events[i].data.ptr;
        u32 what = events[i].events;
        if (c->state == CONNECTING) {
            on_connected(c);
            continue;
        }
        if (c->state != DEAD && what & (EPOLLIN | EPOLLHUP | EPOLLERR))
            on_readable(c);
        if (c->state != DEAD && what & EPOLLOUT && c->out_length)
            on_writable(c);
    }
}

/* Returns when a line has come on standard input, or its end; the clients are heard meanwhile. */
static void hear_until_told(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char line[256];
    while (poll(&input, 1, 0) == 0)
        turn(1);
    if (read(0, line, sizeof line) < 0)
        fail("standard input");
}

/* Awake, where it polls, however long there is nothing. */
static void wait_or_poll(int patience_ms) {
    u64 next = now_ns() + (u64)poll_us * 1000;
    turn(poll_us ? 0 : patience_ms);
    while (now_ns() < next && poll_us)
        ;
}

static void run_for(double seconds) {
    for (u64 start = now_ns(); seconds_since(start) < seconds;)
        wait_or_poll(20);
}

static void wait_for_the_rest(void) {
    for (u64 start = now_ns(); delivered < expected && seconds_since(start) < LOSS_PATIENCE;)
        turn(20);
}

static void connect_all(void) {
    struct usage before = usage_now();
    for (int started = 0; open_count + dead_count < clients;) {
        while (started < clients && handshake_count < handshakes)
            start_client(started++);
        turn(100);
        if (seconds_since(before.at) > connect_timeout)
            break;
    }
    struct usage used = cores(before, usage_now());
    double elapsed = (double)used.at / 1e9;
    int opened = open_count, failed = dead_count;

    u64 start = now_ns(), last = start, seen = frames;
    do {
        turn(20);
        if (frames != seen)
            last = now_ns();
        seen = frames;
    } while (seconds_since(last) < quiet && seconds_since(start) < settle);

    printf("{\"label\":\"%s\",\"mode\":\"%s\",\"n\":%d,\"opened\":%d,\"failed\":%d,\"handshakes_s\":%.0f,\"conn_s\":%.3f",
           label, mode, clients, opened, failed, opened / elapsed, elapsed);
    print_usage_of("conn_", used);
    printf(",\"settle_s\":%.2f,\"join_frames\":%" PRIu64, (double)(last - start) / 1e9, frames);
}

/* How many of those that never read the server has closed: they read now, what is left and then the end. */
static void print_stalled(void) {
    int wide = READ_ROOM;
    if (!stalled)
        return;
    for (int i = clients - stalled; i < clients; i++) {
        if (all[i].state != STALLED)
            continue;
        all[i].state = OPEN;
        setsockopt(all[i].fd, SOL_SOCKET, SO_RCVBUF, &wide, sizeof wide);
        watch(&all[i], EPOLL_CTL_ADD, EPOLLIN);
    }
    for (u64 start = now_ns(); stalled_closed < stalled_count && seconds_since(start) < STALLED_PATIENCE;)
        turn(20);
    printf(",\"stalled_closed\":%d", stalled_closed);
}

/* ---- Modes ---- */

static void rest(long rss_before) {
    run_for(idle);
    long rss = server_rss();
    struct usage before = usage_now();
    run_for(1.0);
    struct usage used = cores(before, usage_now());
    print_server_figure("rss0_kb", 0, (double)rss_before);
    print_server_figure("rss1_kb", 0, (double)rss);
    print_server_figure("rss_per_conn_kb", 2, open_count ? (double)(rss - rss_before) / open_count : -1);
    print_server_figure("idle_cpu", 3, used.server);
    printf(",\"still_open\":%d", open_count);
}

static void measure_latency(void) {
    u64 warm = (u64)(warm_up * rate), count = warm + (u64)(duration * rate);
    struct usage before = usage_now();
    u64 start = before.at;
    sample_all = 1;
    for (u64 i = 0; i < count;) {
        u64 due = start + (u64)((double)i * 1e9 / rate), now = now_ns();
        if (now < due) {
            wait_or_poll((int)((due - now) / 1000000)); /* the last millisecond without sleep */
            continue;
        }
        if (i++ == warm) {
            sample_count = 0;
            before = usage_now();
        }
        if (all[0].state == OPEN)
            say(&all[0]);
    }
    wait_for_the_rest();
    struct usage used = cores(before, usage_now());
    double sum = 0;
    for (u64 i = 0; i < sample_count; i++)
        sum += samples[i];
    qsort(samples, sample_count, sizeof *samples, by_size);
    printf(",\"rate\":%.1f,\"samples\":%" PRIu64 ",\"lost\":%" PRId64 ",\"mean_ms\":%.3f,\"p50_ms\":%.3f,\"p90_ms\":%.3f,"
           "\"p99_ms\":%.3f,\"max_ms\":%.3f,\"died\":%d,\"bad\":%" PRIu64,
           rate, sample_count, (int64_t)(expected - delivered), sample_count ? sum / (double)sample_count / 1e4 : -1,
           percentile(.5), percentile(.9), percentile(.99), percentile(1), dead_count, bad_frames);
    print_usage_of("", used);
    print_stalled();
}

/* The k-th sender.  Neighbours are in different channels; those of one channel are spread evenly over its clients. */
static struct client *sender(int k) {
    int room = k % channels;
    int here = (clients - stalled - room + channels - 1) / channels;
    int sending = (senders - room + channels - 1) / channels;
    return &all[room + channels * (int)((long)(k / channels) * here / sending)];
}

static void measure_fanout(void) {
    keep_sending = 1;
    for (int i = 0; i < senders * window; i++) {
        struct client *c = rotate ? next_in_turn() : sender(i % senders);
        if (c && c->state == OPEN)
            say(c);
    }
    run_for(warm_up);

    for (int i = 0; i < clients; i++)
        all[i].returned = 0;
    u64 delivered_before = delivered + from_others, returned_before = came_back, bytes_before = bytes_in;
    sample_own = 1;
    struct usage before = usage_now();
    run_for(duration);
    struct usage used = cores(before, usage_now());
    double elapsed = (double)used.at / 1e9;
    sample_own = keep_sending = 0;
    double delivered_s = (double)(delivered + from_others - delivered_before) / elapsed;
    double broadcasts_s = (double)(came_back - returned_before) / elapsed;
    double mb_s = (double)(bytes_in - bytes_before) / elapsed / 1e6;
    u64 fewest = UINT64_MAX, most = 0;
    int speakers = rotate ? clients - stalled : senders;
    for (int k = 0; k < speakers; k++) {
        u64 returned = rotate ? all[k].returned : sender(k)->returned;
        fewest = returned < fewest ? returned : fewest;
        most = returned > most ? returned : most;
    }
    wait_for_the_rest();
    qsort(samples, sample_count, sizeof *samples, by_size);
    printf(",\"delivered_s\":%.0f,\"broadcasts_s\":%.1f,\"mb_s\":%.1f,\"echo_p50_ms\":%.3f,\"echo_p99_ms\":%.3f,"
           "\"sender_min\":%" PRIu64 ",\"sender_max\":%" PRIu64 ",\"lost\":%" PRId64 ",\"died\":%d,\"bad\":%" PRIu64,
           delivered_s, broadcasts_s, mb_s, percentile(.5), percentile(.99), fewest, most, (int64_t)(expected - delivered),
           dead_count, bad_frames);
    print_usage_of("", used);
    print_stalled();
}

/* ---- Start ---- */

static void print_help(void) {
    puts("wsload: load for WebSocket servers that repeat to everybody what one says; prints one line of JSON\n");
    for (int i = 0; i < OPTION_COUNT; i++) {
        char name[40], value[40] = "";
        snprintf(name, sizeof name, "--%s %s", OPTIONS[i].name, OPTIONS[i].value ? OPTIONS[i].value : "");
        if (OPTIONS[i].kind == WHOLE && *(int *)OPTIONS[i].to > 0)
            snprintf(value, sizeof value, " [%d]", *(int *)OPTIONS[i].to);
        else if (OPTIONS[i].kind == REAL)
            snprintf(value, sizeof value, " [%g]", *(double *)OPTIONS[i].to);
        else if (OPTIONS[i].kind == TEXT && *(char **)OPTIONS[i].to && **(char **)OPTIONS[i].to)
            snprintf(value, sizeof value, " [%s]", *(char **)OPTIONS[i].to);
        printf("  %-24s %s%s\n", name, OPTIONS[i].help, value);
    }
    exit(0);
}

static void set_option(int i, const char *text) {
    char *end = "";
    if (OPTIONS[i].kind == FLAG)
        *(int *)OPTIONS[i].to = 1;
    else if (OPTIONS[i].kind == WHOLE)
        *(int *)OPTIONS[i].to = (int)strtol(text, &end, 10);
    else if (OPTIONS[i].kind == REAL)
        *(double *)OPTIONS[i].to = strtod(text, &end);
    else
        *(char **)OPTIONS[i].to = (char *)text;
    if (text && (*end || (OPTIONS[i].kind != TEXT && !*text)))
        refuse("--%s: \"%s\" is no number", OPTIONS[i].name, text);
}

static void read_options(int argc, char **argv) {
    struct option options[OPTION_COUNT + 2] = {0};
    int chosen, i;
    for (i = 0; i < OPTION_COUNT; i++)
        options[i] = (struct option){OPTIONS[i].name, OPTIONS[i].kind == FLAG ? no_argument : required_argument, NULL, 0};
    options[i] = (struct option){"help", no_argument, NULL, 0};
    while ((chosen = getopt_long(argc, argv, "", options, &i)) != -1) {
        if (chosen == '?')
            refuse("see --help");
        if (i == OPTION_COUNT)
            print_help();
        set_option(i, optarg);
    }
    if (optind < argc)
        refuse("\"%s\" is no option; see --help", argv[optind]);
}

static int one_of(const char *text, const char *one, const char *two, const char *three) {
    return !strcmp(text, one) || !strcmp(text, two) || !strcmp(text, three);
}

static void check_options(void) {
    struct in_addr address;
    int fanout = !strcmp(mode, "fanout");
    if (strncmp(host, "127.", 4) || inet_pton(AF_INET, host, &address) != 1)
        refuse("--host: only addresses in 127.0.0.0/8");
    if (!one_of(mode, "fanout", "latency", "connect"))
        refuse("--mode: fanout, latency or connect");
    if (!one_of(protocol, "text", "chatv1", "socketio"))
        refuse("--protocol: text, chatv1 or socketio");
    if (strpbrk(label, "\"\\"))
        refuse("--label: no quotation marks or backslashes");
    if (strlen(channel) > 200)
        refuse("--channel: at most 200 bytes");
    if (size < 1 || size > BIGGEST_MESSAGE)
        refuse("--size: 1 to %d", BIGGEST_MESSAGE);
    if (stalled < 0 || stalled >= clients || (stalled && !strcmp(mode, "connect")))
        refuse("--stalled: fewer than --n, and not with --mode connect");
    if (channels < 1 || channels > clients - stalled)
        refuse("--channels: 1 to the clients that read");
    if (senders < 1 || window < 1 || handshakes < 1 || rate <= 0)
        refuse("--senders, --window, --inflight, --rate: more than nothing");
    if (poll_us < 0 || (poll_us && !strcmp(mode, "connect")))
        refuse("--poll: not less than nothing, and not with --mode connect");
    if (rotate && !fanout)
        refuse("--rotate: only with --mode fanout");
    if (fanout && !rotate && senders > clients - stalled)
        refuse("--senders: at most the clients that read");
    if (first < ALONE)
        refuse("--first: not less than nothing");
    chatv1 = !strcmp(protocol, "chatv1");
    socketio = !strcmp(protocol, "socketio");
}

static void read_pids(void) {
    for (char *end, *text = pids; *text; text = *end ? end + 1 : end) {
        long rss = 0, found = strtol(text, &end, 10);
        double cpu = 0;
        if (end == text || (*end && *end != ','))
            refuse("--pid: \"%s\" is no list of processes", pids);
        if (pid_count == MOST_PIDS)
            refuse("--pid: at most %d", MOST_PIDS);
        weigh((int)found, &rss, &cpu, 0);
        if (!rss)
            refuse("--pid: no process %ld", found);
        pid[pid_count++] = (int)found;
    }
}

static void read_headers(void) {
    FILE *file = fopen(headers_file, "r");
    char *line = NULL;
    size_t room = 0;
    if (!file)
        fail(headers_file);
    headers = grown(NULL, (size_t)clients * sizeof *headers);
    while (header_count < clients && getline(&line, &room, file) > 0) {
        line[strcspn(line, "\r\n")] = 0;
        headers[header_count++] = strdup(line);
    }
    free(line);
    fclose(file);
    if (header_count < clients)
        fprintf(stderr, "wsload: only %d lines in %s: they are used again\n", header_count, headers_file);
}

/* One descriptor a client, and a few: root may raise the hard limit, others the soft one. */
static void raise_limit(void) {
    struct rlimit limit = {(rlim_t)clients + 64, (rlim_t)clients + 64}, had;
    getrlimit(RLIMIT_NOFILE, &had);
    if (had.rlim_max >= limit.rlim_max)
        limit.rlim_max = had.rlim_max;
    if (had.rlim_cur < limit.rlim_cur && setrlimit(RLIMIT_NOFILE, &limit))
        refuse("%d clients need as many descriptors: raise `ulimit -Hn`, which is %lu", clients,
               (unsigned long)had.rlim_max);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    check_options();
    read_pids();
    raise_limit();
    if (headers_file)
        read_headers();
    signal(SIGPIPE, SIG_IGN);
    all = calloc((size_t)clients, sizeof *all);
    listeners = calloc((size_t)channels, sizeof *listeners);
    poller = epoll_create1(0);
    if (!all || !listeners || poller < 0)
        fail("start");

    long rss_before = server_rss();
    connect_all();
    if (wait_for_word) {
        fputs("ready\n", stderr);
        hear_until_told();
    }
    delivered = from_others = 0;
    if (!strcmp(mode, "connect"))
        rest(rss_before);
    else if (!strcmp(mode, "latency"))
        measure_latency();
    else
        measure_fanout();
    if (first != ALONE)
        printf(",\"from_others\":%" PRIu64, from_others);
    puts("}");
    if (wait_for_word) {
        fflush(stdout);
        hear_until_told();
    }
    return 0;
}
