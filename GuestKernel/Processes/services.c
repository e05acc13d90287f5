/* The table that every ring-0 program gets; its functions are in Services.swift. */
#include "../../Images/include/vitrine.h"

void service_write(const char *, uint64_t);
void service_exit(int64_t) __attribute__((noreturn));
void *service_allocate(uint64_t, uint64_t);
void service_release(void *);
void *service_map(void *, uint64_t, uint64_t);
int64_t service_protect(void *, uint64_t, uint64_t);
int64_t service_unmap(void *, uint64_t);
void service_yield(void);
uint64_t service_ticks(void);

const struct vitrine_services program_services = {
    .version = 1,
    .size = sizeof(struct vitrine_services),
    .write = service_write,
    .exit = service_exit,
    .allocate = service_allocate,
    .release = service_release,
    .map = service_map,
    .protect = service_protect,
    .unmap = service_unmap,
    .yield = service_yield,
    .ticks = service_ticks,
};
