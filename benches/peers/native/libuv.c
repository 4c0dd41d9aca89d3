// libuv: a loop on each of N threads; a thread that accepts deals the connections round robin. The answer is tried at once
// (uv_try_write), and only what the socket does not take is queued.

#include "peer.h"

#include <stdlib.h>
#include <uv.h>

struct accepted {
    int fd;
    struct accepted *next;
};

// A loop, and the connections that wait for it.
struct server {
    uv_loop_t loop;
    uv_async_t wake;
    uv_mutex_t lock;
    struct accepted *accepted;
};

struct connection {
    uv_tcp_t tcp;
    uv_write_t rest;
    char buffer[];
};

static void check(int status, const char *what) {
    if (status < 0) {
        peer_die("%s: %s", what, uv_strerror(status));
    }
}

static void *allocate(size_t bytes) {
    void *memory = malloc(bytes);
    if (!memory) {
        peer_die("no memory");
    }
    return memory;
}

static void closed(uv_handle_t *handle) { free(handle); }

static void end(struct connection *connection) {
    if (!uv_is_closing((uv_handle_t *)&connection->tcp)) {
        uv_close((uv_handle_t *)&connection->tcp, closed);
    }
}

static void lend(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer) {
    (void)suggested;
    *buffer = uv_buf_init(((struct connection *)handle)->buffer, (unsigned)peer.buffer);
}

static void came(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer);

static void rest_sent(uv_write_t *request, int status) {
    struct connection *connection = request->data;
    if (status < 0 || uv_read_start((uv_stream_t *)&connection->tcp, lend, came) < 0) {
        end(connection);
    }
}

static void came(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer) {
    struct connection *connection = (struct connection *)stream;
    if (length < 0) {
        end(connection);
        return;
    }
    if (length == 0) {
        return; // nothing came after all
    }
    peer_stall(buffer->base);
    uv_buf_t answer = uv_buf_init(buffer->base, (unsigned)length);
    int sent = uv_try_write(stream, &answer, 1);
    if (sent == length) {
        return;
    }
    if (sent < 0 && sent != UV_EAGAIN) {
        end(connection);
        return;
    }
    // The buffer is not free before the rest is out, so nothing more is read.
    uv_read_stop(stream);
    sent = sent < 0 ? 0 : sent;
    answer = uv_buf_init(buffer->base + sent, (unsigned)(length - sent));
    connection->rest.data = connection;
    if (uv_write(&connection->rest, stream, &answer, 1, rest_sent) < 0) {
        end(connection);
    }
}

static void admit(uv_async_t *wake) {
    struct server *server = wake->data;
    uv_mutex_lock(&server->lock);
    struct accepted *accepted = server->accepted;
    server->accepted = NULL;
    uv_mutex_unlock(&server->lock);
    while (accepted) {
        struct accepted *next = accepted->next;
        struct connection *connection = allocate(sizeof *connection + peer.buffer);
        check(uv_tcp_init(&server->loop, &connection->tcp), "uv_tcp_init");
        if (uv_tcp_open(&connection->tcp, accepted->fd) < 0) {
            close(accepted->fd);
            end(connection);
        } else if (uv_read_start((uv_stream_t *)&connection->tcp, lend, came) < 0) {
            end(connection);
        }
        free(accepted);
        accepted = next;
    }
}

static void serve(void *server) { uv_run(&((struct server *)server)->loop, UV_RUN_DEFAULT); }

static void deal(void *servers) {
    for (int next = 0;; next = (next + 1) % peer.threads) {
        struct server *server = &((struct server *)servers)[next];
        struct accepted *accepted = allocate(sizeof *accepted);
        accepted->fd = peer_accept();
        uv_mutex_lock(&server->lock);
        accepted->next = server->accepted;
        server->accepted = accepted;
        uv_mutex_unlock(&server->lock);
        uv_async_send(&server->wake);
    }
}

int main(int argc, char **argv) {
    peer_start("libuv", argc, argv);
    uv_thread_t thread;
    struct server *servers = allocate((size_t)peer.threads * sizeof *servers);
    for (struct server *server = servers; server < servers + peer.threads; server++) {
        check(uv_loop_init(&server->loop), "uv_loop_init");
        check(uv_mutex_init(&server->lock), "uv_mutex_init");
        check(uv_async_init(&server->loop, &server->wake, admit), "uv_async_init");
        server->wake.data = server;
        server->accepted = NULL;
        check(uv_thread_create(&thread, serve, server), "uv_thread_create");
    }
    check(uv_thread_create(&thread, deal, servers), "uv_thread_create");
    char settings[100];
    snprintf(settings, sizeof settings, "loops, epoll, uv_try_write, libuv %s", uv_version_string());
    peer_run(settings);
}
