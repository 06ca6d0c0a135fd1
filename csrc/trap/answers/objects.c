#define _GNU_SOURCE
#include "trap/answers/objects.h"

#include "trap/code/byte.h"
#include "trap/thread/memory.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>

static void (*report)(const struct code_image *image);
static struct r_debug *debug;
static _Atomic uint64_t breakpoint; /* address of the INT3; 0: none */
static uint64_t resume;             /* what follows it */
static unsigned missed;

/* ---- which were reported ---- */

/* By the address of their dynamic section, which no two mapped objects share. More than these are reported
 * each time anew, which costs time only. */
enum { KNOWN = 4096 };
static struct {
    uint64_t dynamic;
    unsigned round; /* of the last look that saw it */
} known[KNOWN];
static unsigned known_count, current_round;

static int is_known(uint64_t dynamic) {
    for (unsigned i = 0; i < known_count; i++)
        if (known[i].dynamic == dynamic) {
            known[i].round = current_round;
            return 1;
        }
    if (known_count < KNOWN) {
        known[known_count].dynamic = dynamic;
        known[known_count++].round = current_round;
    }
    return 0;
}

/* Addresses of objects that are gone may come again. */
static void forget_the_gone(void) {
    unsigned kept = 0;
    for (unsigned i = 0; i < known_count; i++)
        if (known[i].round == current_round)
            known[kept++] = known[i];
    known_count = kept;
}

/* ---- looking ---- */

static uint64_t dynamic_of(const struct code_image *image) {
    for (size_t i = 0; i < image->count; i++)
        if (image->headers[i].p_type == PT_DYNAMIC)
            return image->base + image->headers[i].p_vaddr;
    return 0;
}

static int holds(const struct code_image *image, const void *at) {
    const uint64_t address = (uintptr_t)at - image->base;
    for (size_t i = 0; i < image->count; i++) {
        const Elf64_Phdr *const h = &image->headers[i];
        if (h->p_type == PT_LOAD && address >= h->p_vaddr && address - h->p_vaddr < h->p_memsz)
            return 1;
    }
    return 0;
}

static int read_memory(uint64_t address, void *to, size_t size) {
    return trap_own_memory.read(NULL, address, to, size) == size;
}

/* Whether the file holds all that is to be looked at: behind its end is SIGBUS, though the program may never
 * go there. */
static int is_whole(const struct code_image *image) {
    for (size_t i = 0; i < image->count; i++) {
        const Elf64_Phdr *const h = &image->headers[i];
        uint8_t last;
        if (h->p_type == PT_LOAD && h->p_flags & PF_R && h->p_filesz &&
            !read_memory(image->base + h->p_vaddr + h->p_filesz - 1, &last, sizeof last))
            return 0;
    }
    return 1;
}

static void report_whole(const struct code_image *image) {
    if (is_whole(image))
        report(image);
    else
        missed++;
}

static int at_start(struct dl_phdr_info *info, size_t size, void *context) {
    const struct code_image image = {
        .base = info->dlpi_addr, .headers = info->dlpi_phdr, .count = info->dlpi_phnum};
    int *const is_first = context; /* the program itself */
    (void)size;
    if (*is_first) {
        const Elf64_Dyn *entry = (const Elf64_Dyn *)dynamic_of(&image);
        for (; entry != NULL && entry->d_tag != DT_NULL; entry++)
            if (entry->d_tag == DT_DEBUG)
                debug = (struct r_debug *)entry->d_un.d_ptr;
        *is_first = 0;
    }
    is_known(dynamic_of(&image));
    if (!holds(&image, (const void *)&known) && info->dlpi_addr != getauxval(AT_SYSINFO_EHDR))
        report_whole(&image);
    return 0;
}

/* Of an object that was just mapped, whose ELF header is at its beginning. */
static int image_of(const struct link_map *object, struct code_image *image) {
    Elf64_Ehdr header;
    if (!read_memory(object->l_addr, &header, sizeof header) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_phentsize != sizeof(Elf64_Phdr))
        return 0;
    *image = (struct code_image){.base = object->l_addr,
                                 .headers = (const Elf64_Phdr *)(object->l_addr + header.e_phoff),
                                 .count = header.e_phnum};
    Elf64_Phdr last;
    return header.e_phnum > 0 &&
           read_memory((uintptr_t)&image->headers[header.e_phnum - 1], &last, sizeof last) &&
           dynamic_of(image) == (uintptr_t)object->l_ld;
}

static void look_at(const struct r_debug *namespace) {
    for (const struct link_map *object = namespace->r_map; object != NULL; object = object->l_next) {
        struct code_image image;
        if (is_known((uintptr_t)object->l_ld))
            continue;
        if (image_of(object, &image))
            report_whole(&image);
        else
            missed++;
    }
}

/* Other namespaces, of dlmopen(), are chained behind the first since r_version 2 (glibc 2.35). */
static void look(void) {
    enum { HAS_NEXT = 2 };
    struct extended {
        struct r_debug base;
        struct extended *next;
    };
    current_round++;
    look_at(debug);
    if (debug->r_version >= HAS_NEXT)
        for (const struct extended *e = ((const struct extended *)debug)->next; e != NULL; e = e->next)
            look_at(&e->base);
    forget_the_gone();
}

/* ---- listening ---- */

void objects_ret(void);
__asm__(".pushsection .text\n"
        ".hidden objects_ret\n"
        ".globl objects_ret\n"
        ".type objects_ret, @function\n"
        "objects_ret:\n"
        "  ret\n"
        ".size objects_ret, . - objects_ret\n"
        ".popsection\n");

/* The empty function begins with RET or with ENDBR64, which can be skipped. */
static int find_breakpoint(uint64_t *address) {
    static const uint8_t endbr64[] = {0xF3, 0x0F, 0x1E, 0xFA};
    enum { RET = 0xC3 };
    uint8_t code[sizeof endbr64];
    *address = debug != NULL ? debug->r_brk : 0;
    if (*address == 0 || !read_memory(*address, code, sizeof code))
        return 0;
    if (code[0] == RET) {
        resume = (uintptr_t)objects_ret;
        return 1;
    }
    resume = *address + sizeof endbr64;
    return memcmp(code, endbr64, sizeof endbr64) == 0;
}

int objects_start(void (*loaded)(const struct code_image *image)) {
    int is_first = 1;
    uint64_t address;
    report = loaded;
    dl_iterate_phdr(at_start, &is_first);
    if (debug == NULL)
        debug = dlsym(RTLD_DEFAULT, "_r_debug");
    if (find_breakpoint(&address)) {
        atomic_store(&breakpoint, address);
        if (code_byte_write((uint8_t *)address, CODE_INT3) == 0)
            return 0;
        atomic_store(&breakpoint, 0);
    }
    missed++; /* whatever comes later */
    return -ENOTSUP;
}

unsigned objects_missed(void) {
    return missed;
}

int objects_handle(ucontext_t *context) {
    greg_t *const rip = &context->uc_mcontext.gregs[REG_RIP];
    const uint64_t address = atomic_load_explicit(&breakpoint, memory_order_relaxed);
    if (address == 0 || (uint64_t)*rip != address + 1)
        return 0;
    if (debug->r_state == RT_CONSISTENT)
        look();
    *rip = (greg_t)resume;
    return 1;
}
