/* stream_tcp.h - the maker of streams over sockets (stream.h). */
#ifndef REACTOR_STREAM_TCP_H
#define REACTOR_STREAM_TCP_H

#include "base/rc.h"
#include "reactor/loop.h"
#include "reactor/stream.h"

/* Takes the descriptor (connected, non-blocking) on RC_OK only. The caller starts the stream in the same turn. */
enum rc stream_tcp_new(struct loop *loop, int fd, struct stream **ret) RC_MUST_USE;

/* What any stream answers whose `number` is a TCP socket; see struct stream_ops. */
void   stream_tcp_forget(struct stream *stream);
bool   stream_tcp_is_dead(const struct stream *stream, msec silence_ms);
size_t stream_tcp_unacked_bytes(const struct stream *stream);
bool   stream_tcp_peer(const struct stream *stream, struct ip_address *ret);

/* The socket, which stays the stream's; -1: it is not a stream of this maker, or is closed. */
int stream_tcp_socket(const struct stream *stream);

/* The loop's. */
void stream_tcp_maker_init(struct stream_maker *maker, struct loop *loop);

#endif
