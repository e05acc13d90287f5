// Sockets that carry descriptors, and the descriptors that stand for signals and events. Each call here exists because
// the C interface is made of macros (CMSG_*), needs _GNU_SOURCE (struct ucred, memfd_create) or is in a header that Swift's
// Glibc module leaves out (sys/eventfd.h, sys/signalfd.h).
#ifndef CSOCKETS_H
#define CSOCKETS_H

#include <stddef.h>

/// The most descriptors that one message carries here (the kernel allows 253).
#define CSYSTEM_MAX_DESCRIPTORS 64

/// sendmsg(2), without waiting and without SIGPIPE; the descriptors go as SCM_RIGHTS (unix(7)).
long csystem_send_descriptors(int socket, const void *bytes, size_t count, const int *descriptors,
                              size_t descriptor_count);
/// recvmsg(2), without waiting; descriptors (room for CSYSTEM_MAX_DESCRIPTORS) are close-on-exec and the caller's.
long csystem_receive_descriptors(int socket, void *bytes, size_t count, int *descriptors, size_t *descriptor_count);
/// SO_PEERCRED (unix(7)): who made the connection.
long csystem_peer_credentials(int socket, int *pid, unsigned *uid);
/// eventfd(2): close-on-exec, non-blocking, 0 at first.
long csystem_eventfd(void);
/// Blocks the signals for this thread and those it starts, and returns a signalfd(2) that reports them.
long csystem_signalfd(const int *signals, size_t count);
/// Reads the number of the next signal from a signalfd; -EAGAIN if there is none.
long csystem_read_signal(int descriptor);
/// A memfd_create(2) file with these bytes, sealed against every change.
long csystem_sealed_file(const char *name, const void *bytes, size_t count);

#endif
