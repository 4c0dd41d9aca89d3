// C++ Asio: an io_context with concurrency hint 1 on each of N threads, so that each knows that one thread runs it; a thread
// that accepts deals the connections round robin.

#include "peer.h"

#include <asio.hpp>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using asio::ip::tcp;

// A connection, which lives as long as one of its operations.
class Session : public std::enable_shared_from_this<Session> {
public:
    explicit Session(tcp::socket socket) : socket_(std::move(socket)), buffer_(new char[peer.buffer]) {}

    void read() {
        socket_.async_read_some(asio::buffer(buffer_.get(), peer.buffer),
                                [self = shared_from_this()](std::error_code error, std::size_t length) {
                                    if (!error) {
                                        peer_stall(self->buffer_.get());
                                        self->write(length);
                                    }
                                });
    }

private:
    void write(std::size_t length) {
        asio::async_write(socket_, asio::buffer(buffer_.get(), length),
                          [self = shared_from_this()](std::error_code error, std::size_t) {
                              if (!error) {
                                  self->read();
                              }
                          });
    }

    tcp::socket socket_;
    std::unique_ptr<char[]> buffer_;
};

int main(int argc, char **argv) {
    peer_start("Asio", argc, argv);
    std::vector<std::unique_ptr<asio::io_context>> contexts;
    for (int at = 0; at < peer.threads; at++) {
        contexts.push_back(std::make_unique<asio::io_context>(1));
        std::thread([context = contexts.back().get()] {
            // It goes on without connections, too.
            auto work = asio::make_work_guard(*context);
            context->run();
        }).detach();
    }
    std::thread([&contexts] {
        for (std::size_t next = 0;; next = (next + 1) % contexts.size()) {
            auto &context = *contexts[next];
            asio::post(context, [&context, connection = peer_accept()] {
                std::make_shared<Session>(tcp::socket(context, tcp::v4(), connection))->read();
            });
        }
    }).detach();
    std::string version = std::to_string(ASIO_VERSION / 100000) + "." + std::to_string(ASIO_VERSION / 100 % 1000) + "." +
                          std::to_string(ASIO_VERSION % 100);
    peer_run(("io_contexts with concurrency hint 1, epoll, Asio " + version).c_str());
}
