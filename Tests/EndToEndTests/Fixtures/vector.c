/* A program that uses SSE in ring 0: where ring 0 is emulated that ends the guest with an emulation failure. */
#include "vitrine.h"

static volatile double number = 2;

int64_t _start(const struct vitrine_services *services, const char *argument) {
    (void)argument;
    services->write("vector: multiplying\n", 20);
    number = number * 21;
    return (int64_t)number;
}
