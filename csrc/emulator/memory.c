/* Memory as this process sees it. */
#include "emulator.h"

#include <string.h>

static size_t read_direct(void *context, uint64_t address, void *to, size_t size) {
    (void)context;
    memcpy(to, (const void *)(uintptr_t)address, size);
    return size;
}

static size_t write_direct(void *context, uint64_t address, const void *from, size_t size) {
    (void)context;
    memcpy((void *)(uintptr_t)address, from, size);
    return size;
}

const struct amxemu_memory amxemu_direct_memory = {read_direct, write_direct, NULL};
