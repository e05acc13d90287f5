/* A program as anyone would write it: gcc -static-pie -nostdlib -mgeneral-regs-only. Its table of pointers has to be
 * relocated, its large array appears on first touch, and it exits by returning.
 */
#include "vitrine.h"

static const char first[] = "plain: relocated\n", second[] = "plain: allocated\n";
static const char *volatile lines[] = {first, second};
static volatile uint64_t array[1 << 16];

int64_t _start(const struct vitrine_services *services, const char *argument) {
    const char *line = lines[0];
    services->write(line, sizeof first - 1);
    uint64_t *block = services->allocate(65536, VITRINE_BY_SIZE);
    if (services->version != 1 || services->size < sizeof *services || !block || (uint64_t)block >> 44 != 0xffff8) return 1;
    block[100] = 7;
    array[60000] = block[100];
    services->release(block);
    uint8_t *page = services->map(0, 8192, VITRINE_READ | VITRINE_WRITE);
    if ((uint64_t)page < 0x200000000000 || page[4096] != 0) return 2;
    page[4096] = 35;
    if (services->protect(page, 8192, VITRINE_READ) || page[4096] != 35) return 3;
    uint64_t sum = array[60000] + page[4096];
    if (services->unmap(page, 8192)) return 4;
    line = lines[1];
    services->write(line, sizeof first - 1);
    uint64_t start = services->ticks();
    while (services->ticks() == start) services->yield();
    return (int64_t)sum + (argument[0] ? 0 : 1000);
}
