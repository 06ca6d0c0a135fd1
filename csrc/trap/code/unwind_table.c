#include "trap/code/unwind_table.h"

#include <string.h>

/* Encodings of pointers (LSB, 10.5.1). */
enum {
    DW_EH_PE_absptr = 0x00,
    DW_EH_PE_udata2 = 0x02,
    DW_EH_PE_udata4 = 0x03,
    DW_EH_PE_udata8 = 0x04,
    DW_EH_PE_signed = 0x08,
    DW_EH_PE_sdata2 = 0x0A,
    DW_EH_PE_sdata4 = 0x0B,
    DW_EH_PE_sdata8 = 0x0C,
    DW_EH_PE_pcrel = 0x10,
    DW_EH_PE_datarel = 0x30,
    FORMAT = 0x0F,
    APPLICATION = 0x70,
};

/* Reading within one segment; `left` runs out rather than the address beyond it. */
struct reader {
    uint64_t at, left;
};

static struct reader reader_at(const struct code_image *image, uint64_t at) {
    const uint64_t address = at - image->base;
    for (size_t i = 0; i < image->count; i++) {
        const Elf64_Phdr *const h = &image->headers[i];
        if (h->p_type == PT_LOAD && h->p_flags & PF_R && address >= h->p_vaddr &&
            address - h->p_vaddr < h->p_filesz)
            return (struct reader){at, h->p_filesz - (address - h->p_vaddr)};
    }
    return (struct reader){at, 0};
}

static int take(struct reader *r, void *to, size_t size) {
    if (r->left < size)
        return 0;
    memcpy(to, (const void *)(uintptr_t)r->at, size);
    r->at += size;
    r->left -= size;
    return 1;
}

static int take_leb128(struct reader *r, uint64_t *value) {
    uint8_t byte;
    unsigned shift = 0;
    *value = 0;
    do {
        if (!take(r, &byte, 1) || shift > 63)
            return 0;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        shift += 7;
    } while (byte & 0x80);
    return 1;
}

/* A number in the format of a pointer encoding. */
static int take_number(struct reader *r, uint8_t encoding, uint64_t *value) {
    size_t size;
    switch (encoding & FORMAT) {
    case DW_EH_PE_udata2:
    case DW_EH_PE_sdata2:
        size = 2;
        break;
    case DW_EH_PE_udata4:
    case DW_EH_PE_sdata4:
        size = 4;
        break;
    case DW_EH_PE_absptr:
    case DW_EH_PE_udata8:
    case DW_EH_PE_sdata8:
        size = 8;
        break;
    default:
        return 0;
    }
    const unsigned unused = 64 - 8 * (unsigned)size;
    *value = 0;
    if (!take(r, value, size))
        return 0;
    if (encoding & DW_EH_PE_signed)
        *value = (uint64_t)((int64_t)(*value << unused) >> unused);
    return 1;
}

/* A pointer; indirect ones, which only personalities and LSDAs are, are not understood. */
static int take_pointer(struct reader *r, uint8_t encoding, uint64_t *pointer) {
    const uint64_t here = r->at;
    if (!take_number(r, encoding, pointer))
        return 0;
    switch (encoding & ~FORMAT) {
    case DW_EH_PE_pcrel:
        *pointer += here;
        return 1;
    case 0:
        return 1;
    default:
        return 0;
    }
}

/* The encoding of the addresses in the FDEs of a CIE, -1 if it cannot be told. */
static int fde_encoding(const struct code_image *image, uint64_t cie) {
    enum { LETTERS_MOST = 8 }; /* there are seven: "eh", and those below */
    struct reader r = reader_at(image, cie), start;
    uint32_t length, id;
    uint8_t version, letter, encoding;
    uint64_t ignored, personality;
    if (!take(&r, &length, 4) || !take(&r, &id, 4) || id != 0 || !take(&r, &version, 1))
        return -1;
    start = r;
    unsigned letters = 0;
    do {
        if (!take(&r, &letter, 1) || letters++ > LETTERS_MOST)
            return -1;
    } while (letter);
    if (!take_leb128(&r, &ignored) || !take_leb128(&r, &ignored)) /* alignment of code, of data */
        return -1;
    if (version == 1 ? !take(&r, &letter, 1) : !take_leb128(&r, &ignored)) /* return address */
        return -1;
    if (!take(&start, &letter, 1))
        return -1;
    if (letter != 'z')
        return letter ? -1 : DW_EH_PE_absptr;
    if (!take_leb128(&r, &ignored)) /* the length of what follows */
        return -1;
    while (take(&start, &letter, 1) && letter)
        switch (letter) {
        case 'R':
            return take(&r, &encoding, 1) ? encoding : -1;
        case 'P':
            if (!take(&r, &encoding, 1) || !take_pointer(&r, encoding & ~0x80, &personality))
                return -1;
            break;
        case 'L':
            if (!take(&r, &encoding, 1))
                return -1;
            break;
        case 'S':
        case 'B':
            break;
        default:
            return -1;
        }
    return DW_EH_PE_absptr;
}

static int fde_range(const struct code_image *image, uint64_t fde, struct code_range *function) {
    struct reader r = reader_at(image, fde);
    uint32_t length, back;
    uint64_t size;
    if (!take(&r, &length, 4) || length == UINT32_MAX) /* 64-bit DWARF, which nothing emits here */
        return 0;
    const uint64_t id = r.at;
    if (!take(&r, &back, 4) || back == 0)
        return 0;
    const int encoding = fde_encoding(image, id - back);
    if (encoding < 0 || !take_pointer(&r, (uint8_t)encoding, &function->begin) ||
        !take_number(&r, (uint8_t)encoding, &size))
        return 0;
    function->end = function->begin + size;
    return 1;
}

/* 0: there is none. */
static uint64_t eh_frame_hdr(const struct code_image *image) {
    for (size_t i = 0; i < image->count; i++)
        if (image->headers[i].p_type == PT_GNU_EH_FRAME)
            return image->base + image->headers[i].p_vaddr;
    return 0;
}

/* The sorted table of .eh_frame_hdr; `count` is 0 where there is none. Offsets are from `header` on. */
struct table {
    uint64_t header, entries, count;
};
struct entry {
    int32_t begin, fde;
};

static struct table table_of(const struct code_image *image) {
    enum { VERSION, EH_FRAME_ENCODING, COUNT_ENCODING, TABLE_ENCODING };
    struct table table = {eh_frame_hdr(image), 0, 0};
    uint8_t start[4];
    uint64_t ignored;
    if (table.header == 0)
        return table;
    struct reader r = reader_at(image, table.header);
    if (!take(&r, start, sizeof start) || start[VERSION] != 1 ||
        start[TABLE_ENCODING] != (DW_EH_PE_datarel | DW_EH_PE_sdata4) ||
        !take_number(&r, start[EH_FRAME_ENCODING], &ignored) ||
        !take_number(&r, start[COUNT_ENCODING], &table.count) || table.count > r.left / sizeof(struct entry))
        table.count = 0;
    table.entries = r.at;
    return table;
}

static struct entry entry_at(const struct table *table, uint64_t i) {
    struct entry entry;
    memcpy(&entry, (const void *)(uintptr_t)(table->entries + i * sizeof entry), sizeof entry);
    return entry;
}

static int function_at(const struct code_image *image, const struct table *table, uint64_t i,
                       struct code_range *function) {
    const struct entry entry = entry_at(table, i);
    return fde_range(image, table->header + (uint64_t)(int64_t)entry.fde, function) &&
           function->begin == table->header + (uint64_t)(int64_t)entry.begin;
}

int unwind_take_work(struct unwind_search *search, uint64_t units) {
    search->work -= units < search->work ? units : search->work;
    return search->work > 0;
}

/* To find in which segment a record is takes the longer the more there are. */
static uint64_t work_of_record(const struct code_image *image) {
    return 1 + image->count / 8;
}

/* Without the sorted table: the records of .eh_frame one after the other, from one on that is there. */
static int search_records(const struct code_image *image, uint64_t at, struct code_range *function,
                          struct unwind_search *search) {
    struct reader r = reader_at(image, image->eh_frame);
    uint32_t length;
    if (r.left > image->eh_frame_size)
        r.left = image->eh_frame_size;
    if (search->record > r.left)
        return 0;
    r.at += search->record;
    r.left -= search->record;
    while (unwind_take_work(search, work_of_record(image))) {
        const uint64_t record = r.at;
        if (!take(&r, &length, sizeof length) || length == 0 ||
            length > r.left) /* the end, or 64-bit DWARF */
            return 0;
        if (fde_range(image, record, function) && at >= function->begin && at < function->end) {
            search->record = record - image->eh_frame;
            return 1;
        }
        r.at += length;
        r.left -= length;
    }
    return 0;
}

/* They are in the order of the functions, mostly, and so are the places that are asked for. */
static int search_eh_frame(const struct code_image *image, uint64_t at, struct code_range *function,
                           struct unwind_search *search) {
    const uint64_t last = search->record;
    if (search_records(image, at, function, search))
        return 1;
    search->record = 0;
    if (last > 0 && search_records(image, at, function, search))
        return 1;
    search->record = last;
    return 0;
}

int unwind_function(const struct code_image *image, uint64_t at, struct code_range *function,
                    struct unwind_search *search) {
    const struct table table = table_of(image);
    if (!unwind_take_work(search, 4 * work_of_record(image)))
        return 0;
    if (table.count == 0)
        return image->eh_frame && search_eh_frame(image, at, function, search);
    const int64_t wanted = (int64_t)(at - table.header);
    uint64_t low = 0,
             high = table.count; /* the last entry that begins at or before it is in [low, high) - 1 */
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (entry_at(&table, middle).begin <= wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && function_at(image, &table, low - 1, function) && at < function->end;
}

struct code_range unwind_extent(const struct code_image *image) {
    const struct table table = table_of(image);
    struct code_range first, last;
    if (table.count == 0 || !function_at(image, &table, 0, &first) ||
        !function_at(image, &table, table.count - 1, &last))
        return (struct code_range){0, 0};
    return (struct code_range){first.begin, last.end};
}
