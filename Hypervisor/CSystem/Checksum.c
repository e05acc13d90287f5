#include "CSystem.h"

#include <string.h>

// CRC-32C (Castagnoli, RFC 3720 appendix B.4): polynomial 0x1EDC6F41, reflected 0x82F63B78.
static uint32_t plain(uint32_t crc, const unsigned char *bytes, size_t count) {
    for (size_t index = 0; index < count; index++) {
        crc ^= bytes[index];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t fast(uint32_t crc, const unsigned char *bytes, size_t count) {
    uint64_t value = crc;
    while (count >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        value = __builtin_ia32_crc32di(value, word);
        bytes += 8;
        count -= 8;
    }
    crc = (uint32_t)value;
    while (count--) crc = __builtin_ia32_crc32qi(crc, *bytes++);
    return crc;
}
#endif

uint32_t csystem_crc32c(const void *bytes, size_t count, int use_instruction) {
#if defined(__x86_64__)
    if (use_instruction && __builtin_cpu_supports("sse4.2")) return ~fast(~0u, bytes, count);
#endif
    (void)use_instruction;
    return ~plain(~0u, bytes, count);
}
