// Compiled without _GNU_SOURCE: then strerror_r(3) is the POSIX one, which always fills the buffer.
#undef _GNU_SOURCE
#define _POSIX_C_SOURCE 200809L
#include <string.h>

int strerror_r_xsi(int code, char *buffer, size_t count) { return strerror_r(code, buffer, count); }
