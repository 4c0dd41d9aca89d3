// What the echo servers in C and C++ share, as src/lib.rs has it for those in Rust: the command line, the stall, the count
// of stalls, and the thread that accepts and deals connections round robin.
//
// All take `SERVER ADDRESS [--threads N] [--buffer 4096] [--stall none|sleep|burn] [--stall-ms 10]`, listen on IPv4 loopback
// only, and print `listening on ADDRESS, ...` with their settings at the start, and `stalls=N` when SIGTERM or SIGINT ends
// them. A function that fails says why and ends the process.

#ifndef PEER_H
#define PEER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE // accept4
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum peer_stall_kind { PEER_NONE, PEER_SLEEP, PEER_BURN };

static struct {
    const char *name;
    struct sockaddr_in address;
    int listener;
    int threads;
    size_t buffer;
    enum peer_stall_kind stall;
    long stall_ms;
    unsigned long stalls;
    sigset_t ends;
} peer;

__attribute__((noreturn, format(printf, 1, 2))) static void peer_die(const char *format, ...) {
    va_list values;
    va_start(values, format);
    vfprintf(stderr, format, values);
    va_end(values);
    fputc('\n', stderr);
    exit(1);
}

static long long peer_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

// Called by a handler between receive and send: for a chunk that begins with 0xFF it sleeps, or burns, as a careless handler
// does.
static inline void peer_stall(const char *chunk) {
    if ((unsigned char)chunk[0] != 0xFF || peer.stall == PEER_NONE) {
        return;
    }
    __atomic_fetch_add(&peer.stalls, 1, __ATOMIC_RELAXED);
    if (peer.stall == PEER_SLEEP) {
        struct timespec length = {peer.stall_ms / 1000, peer.stall_ms % 1000 * 1000000};
        while (nanosleep(&length, &length) == -1 && errno == EINTR) {
        }
    } else {
        long long end = peer_now_ns() + peer.stall_ms * 1000000LL;
        while (peer_now_ns() < end) {
        }
    }
}

static long peer_number(const char *what, const char *text, long least) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < least || value > 1 << 30) {
        peer_die("%s %s: a number from %ld is wanted", what, text, least);
    }
    return value;
}

static void peer_parse_address(const char *text) {
    char host[INET_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host) {
        peer_die("ADDRESS %s: as in 127.0.0.1:9190", text);
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = 0;
    long port = peer_number("the port of ADDRESS", colon + 1, 0);
    peer.address.sin_family = AF_INET;
    peer.address.sin_port = htons((unsigned short)port);
    if (port > 65535 || inet_pton(AF_INET, host, &peer.address.sin_addr) != 1) {
        peer_die("ADDRESS %s: as in 127.0.0.1:9190", text);
    }
    if (ntohl(peer.address.sin_addr.s_addr) >> 24 != 127) {
        peer_die("%s is not a loopback address", text);
    }
}

// Reads the command line and listens. SIGTERM and SIGINT are blocked from here on, in this thread and in those that it
// starts, and taken by peer_run.
static void peer_start(const char *name, int argc, char **argv) {
    peer.name = name;
    peer.threads = 2;
    peer.buffer = 4096;
    peer.stall_ms = 10;
    for (int at = 1; at < argc; at++) {
        const char *arg = argv[at];
        if (arg[0] != '-' && peer.address.sin_family == 0) {
            peer_parse_address(arg);
            continue;
        }
        if (at + 1 == argc) {
            peer_die("%s: an unexpected argument, or one that wants a value", arg);
        }
        const char *value = argv[++at];
        if (!strcmp(arg, "--threads")) {
            peer.threads = (int)peer_number(arg, value, 1);
        } else if (!strcmp(arg, "--buffer")) {
            peer.buffer = (size_t)peer_number(arg, value, 1);
        } else if (!strcmp(arg, "--stall-ms")) {
            peer.stall_ms = peer_number(arg, value, 0);
        } else if (!strcmp(arg, "--stall") && !strcmp(value, "none")) {
            peer.stall = PEER_NONE;
        } else if (!strcmp(arg, "--stall") && !strcmp(value, "sleep")) {
            peer.stall = PEER_SLEEP;
        } else if (!strcmp(arg, "--stall") && !strcmp(value, "burn")) {
            peer.stall = PEER_BURN;
        } else {
            peer_die("unexpected argument %s %s", arg, value);
        }
    }
    if (peer.address.sin_family == 0) {
        peer_die("the address to listen on is missing");
    }
    int yes = 1;
    socklen_t size = sizeof peer.address;
    struct sockaddr *address = (struct sockaddr *)&peer.address;
    peer.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer.listener == -1 || setsockopt(peer.listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) ||
        bind(peer.listener, address, size) || listen(peer.listener, 4096) ||
        getsockname(peer.listener, address, &size)) {
        peer_die("cannot listen: %s", strerror(errno));
    }
    sigemptyset(&peer.ends);
    sigaddset(&peer.ends, SIGTERM);
    sigaddset(&peer.ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &peer.ends, NULL);
    signal(SIGPIPE, SIG_IGN);
}

// The next connection, with TCP_NODELAY. Waits for it. A client that has gone already refuses the option; its receive says
// so.
static int peer_accept(void) {
    for (;;) {
        int connection = accept4(peer.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (connection >= 0) {
            int yes = 1;
            setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            return connection;
        }
        fprintf(stderr, "accept: %s\n", strerror(errno));
        struct timespec pause = {0, 10000000};
        nanosleep(&pause, NULL);
    }
}

// Says where it listens and with what settings, waits for the end, and ends the process with the count of stalls. Whoever
// serves is not asked to stop.
__attribute__((noreturn)) static void peer_run(const char *settings) {
    static const char *const stalls[] = {"none", "sleep", "burn"};
    int signal_taken;
    printf("listening on 127.%u.%u.%u:%u, %s, %d %s, ", ntohl(peer.address.sin_addr.s_addr) >> 16 & 255,
           ntohl(peer.address.sin_addr.s_addr) >> 8 & 255, ntohl(peer.address.sin_addr.s_addr) & 255,
           ntohs(peer.address.sin_port), peer.name, peer.threads, settings);
    if (peer.buffer != 4096) {
        printf("buffers of %zu bytes, ", peer.buffer);
    }
    if (peer.stall == PEER_NONE) {
        printf("no stall\n");
    } else {
        printf("stall: %s %ld ms\n", stalls[peer.stall], peer.stall_ms);
    }
    fflush(stdout);
    sigwait(&peer.ends, &signal_taken);
    printf("stalls=%lu\n", __atomic_load_n(&peer.stalls, __ATOMIC_RELAXED));
    fflush(stdout);
    _exit(0);
}

#endif
