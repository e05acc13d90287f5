#define _GNU_SOURCE
#include "CSockets.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

static long checked(long result) { return result < 0 ? -(long)errno : result; }

long csystem_send_descriptors(int socket, const void *bytes, size_t count, const int *descriptors,
                              size_t descriptor_count) {
    union {
        char bytes[CMSG_SPACE(sizeof(int) * CSYSTEM_MAX_DESCRIPTORS)];
        struct cmsghdr align;
    } control;
    if (descriptor_count > CSYSTEM_MAX_DESCRIPTORS) return -EINVAL;
    struct iovec part = {.iov_base = (void *)bytes, .iov_len = count};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (descriptor_count != 0) {
        memset(&control, 0, sizeof control);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * descriptor_count);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int) * descriptor_count);
        memcpy(CMSG_DATA(header), descriptors, sizeof(int) * descriptor_count);
    }
    return checked(sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT));
}

long csystem_receive_descriptors(int socket, void *bytes, size_t count, int *descriptors, size_t *descriptor_count) {
    union {
        char bytes[CMSG_SPACE(sizeof(int) * CSYSTEM_MAX_DESCRIPTORS)];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = bytes, .iov_len = count};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    *descriptor_count = 0;
    long result = checked(recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
    if (result < 0) return result;
    for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
        size_t number = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < number; i++) {
            int descriptor;
            memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof descriptor);
            if (*descriptor_count < CSYSTEM_MAX_DESCRIPTORS)
                descriptors[(*descriptor_count)++] = descriptor;
            else
                close(descriptor);
        }
    }
    return result;
}

long csystem_peer_credentials(int socket, int *pid, unsigned *uid) {
    struct ucred credentials;
    socklen_t size = sizeof credentials;
    long result = checked(getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size));
    if (result < 0) return result;
    *pid = credentials.pid;
    *uid = credentials.uid;
    return 0;
}

long csystem_eventfd(void) { return checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)); }

long csystem_signalfd(const int *signals, size_t count) {
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < count; i++) sigaddset(&set, signals[i]);
    long result = checked(sigprocmask(SIG_BLOCK, &set, NULL));
    if (result < 0) return result;
    return checked(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

long csystem_read_signal(int descriptor) {
    struct signalfd_siginfo info;
    long result = checked(read(descriptor, &info, sizeof info));
    return result < 0 ? result : (long)info.ssi_signo;
}

long csystem_sealed_file(const char *name, const void *bytes, size_t count) {
    int descriptor = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (descriptor < 0) return -(long)errno;
    size_t done = 0;
    while (done < count) {
        long result = checked(write(descriptor, (const char *)bytes + done, count - done));
        if (result == -EINTR) continue;
        if (result <= 0) {
            close(descriptor);
            return result < 0 ? result : -EIO;
        }
        done += (size_t)result;
    }
    if (fcntl(descriptor, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0) {
        long code = errno;
        close(descriptor);
        return -code;
    }
    return descriptor;
}
