/* Compares AMX instructions on this CPU with the software tile machine, byte for byte.
 *
 * A case is a random tile state, memory, and up to eight instructions. After each, the outcome (also faults
 * and their addresses), the tiles beyond their shapes too, the configuration and all memory must be equal for
 * the CPU, the direct functions and the decoder, and all other registers and flags of the CPU unchanged. Lane
 * `trapped` is for CPUs without AMX: there "the CPU" is the #UD that the same instruction bytes raise and the
 * tile machine behind it, which proves encodings, operands, decode and step, and nothing about silicon. In
 * lane `patched` it is the thunk that a jump in the instruction's place leads to.
 */
#include "generate.h"
#include "registers.h"
#include "report.h"
#include "run.h"
#include "sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SEQUENCE = 8, CANNOT_RUN = 77 };
static const char *const lane_names[] = {"native", "trapped", "patched", "emulated"};
enum { LANES = sizeof lane_names / sizeof *lane_names };

struct options {
    enum lane lane;
    uint64_t count, seed;
    enum family family; /* FAMILIES: each case another one */
    int stream;         /* results to stdout, for a digest */
    uint64_t sweep;     /* instead of random cases: every n-th encoding */
    unsigned vectors;   /* as on a CPU whose vector registers have so many bytes; 0: as here */
};

/* What is true before an instruction. */
struct before {
    struct amxemu_state state;
    struct shadow memory;
};

struct results {
    struct result cpu, direct, decoded;
    struct shadow direct_memory, decoded_memory;
};

static uint64_t fs_base;
static uint32_t missing; /* instructions that this CPU does not have */

static void run(enum lane lane, const struct before *before, const struct insn *insn, struct results *r) {
    enum { BEFORE = 0xC5 };
    memset(r->cpu.zmm, BEFORE, ZMM_BYTES);
    memset(r->direct.zmm, BEFORE, ZMM_BYTES);
    memset(r->decoded.zmm, BEFORE, ZMM_BYTES);
    if (lane != LANE_EMULATED) {
        arena_set(&before->memory);
        cpu_set(&before->state);
        r->cpu.outcome = cpu_run(insn, r->cpu.zmm, &r->cpu.disturbed);
        cpu_get(&r->cpu.state);
    }
    r->direct.state = r->decoded.state = before->state;
    r->direct_memory = r->decoded_memory = before->memory;
    r->direct.memory = &r->direct_memory;
    r->decoded.memory = &r->decoded_memory;
    r->direct.outcome = direct_run(&r->direct.state, &r->direct_memory, insn, r->direct.zmm);
    r->decoded.outcome = decoded_run(&r->decoded.state, &r->decoded_memory, insn, fs_base, r->decoded.zmm);
}

static int states_equal(const struct amxemu_state *a, const struct amxemu_state *b) {
    uint8_t image_a[AMXEMU_CONFIG_BYTES], image_b[AMXEMU_CONFIG_BYTES];
    amxemu_sttilecfg(a, image_a);
    amxemu_sttilecfg(b, image_b);
    return memcmp(image_a, image_b, sizeof image_a) == 0 && memcmp(a->tile, b->tile, sizeof a->tile) == 0;
}

static int outcomes_equal(struct outcome a, struct outcome b) {
    return a.kind == b.kind && a.fault == b.fault;
}

static int cpu_differs(const struct results *r) {
    return !outcomes_equal(r->cpu.outcome, r->direct.outcome) || r->cpu.disturbed ||
           memcmp(r->cpu.zmm, r->direct.zmm, ZMM_BYTES) != 0 ||
           !states_equal(&r->cpu.state, &r->direct.state) || !arena_equals(&r->direct_memory);
}

static int decoded_differs(const struct results *r) {
    return !outcomes_equal(r->decoded.outcome, r->direct.outcome) ||
           memcmp(r->decoded.zmm, r->direct.zmm, ZMM_BYTES) != 0 ||
           !states_equal(&r->decoded.state, &r->direct.state) ||
           memcmp(&r->decoded_memory, &r->direct_memory, sizeof r->direct_memory) != 0;
}

static int differs(enum lane lane, const struct results *r) {
    return decoded_differs(r) || (lane != LANE_EMULATED && cpu_differs(r));
}

/* Zeroes whatever data the difference does not need: first rows, then words. */
static void shrink(enum lane lane, struct before *before, struct insn *insn, struct results *r) {
    for (size_t size = AMXEMU_COLSB; size >= 4; size = size == 4 ? 0 : 4)
        for (uint8_t *at = before->state.tile[0][0]; at < before->state.tile[AMXEMU_TILES - 1][0] + 1024;
             at += size) {
            static const uint8_t zero[AMXEMU_COLSB];
            uint8_t kept[AMXEMU_COLSB];
            memcpy(kept, at, size);
            if (memcmp(kept, zero, size) == 0)
                continue;
            memset(at, 0, size);
            run(lane, before, insn, r);
            if (!differs(lane, r))
                memcpy(at, kept, size);
        }
    run(lane, before, insn, r);
}

static void tell(enum lane lane, struct before *before, struct insn *insn, struct results *r) {
    shrink(lane, before, insn, r);
    if (lane != LANE_EMULATED && cpu_differs(r))
        report(insn, &before->state, lane_names[lane], &r->cpu, "tile machine", &r->direct);
    else
        report(insn, &before->state, "decoded", &r->decoded, "tile machine", &r->direct);
}

static void stream(const void *bytes, size_t size) {
    if (fwrite(bytes, 1, size, stdout) != size) {
        perror("differential");
        exit(2);
    }
}

static void stream_instruction(const struct insn *insn, const struct result *result) {
    uint8_t image[AMXEMU_CONFIG_BYTES];
    const uint64_t outcome[2] = {result->outcome.kind, result->outcome.fault};
    amxemu_sttilecfg(&result->state, image);
    stream(outcome, sizeof outcome);
    stream(image, sizeof image);
    stream(result->state.tile[insn->d], sizeof result->state.tile[0]);
    if (is_row(insn->op))
        stream(result->zmm, sizeof result->zmm);
}

struct tally {
    uint64_t instructions, differences, left_out, by_kind[AMXEMU_PF + 1];
};

/* The state goes on from the tile machine's, so that one difference is not reported again and again. */
static void run_case(const struct options *options, uint64_t number, struct tally *tally) {
    struct random r = {options->seed * UINT64_C(0xD1B54A32D192ED03) + number};
    const enum family family =
        options->family < FAMILIES ? options->family : (enum family)(number % FAMILIES);
    static struct before before;
    static struct results results;
    const struct result *recorded = options->lane == LANE_EMULATED ? &results.direct : &results.cpu;

    const uint64_t instructions_before = tally->instructions;
    random64(&r);
    generate_start(&r, family, &before.state, &before.memory);
    for (unsigned left = 1 + below(&r, MAX_SEQUENCE); left > 0 && tally->instructions < options->count;
         left--) {
        struct insn insn;
        generate_insn(&r, family, &before.state, &before.memory, fs_base, &insn);
        if (missing >> insn.op & 1 || !cpu_can_run(&insn)) {
            tally->left_out++;
            continue;
        }
        run(options->lane, &before, &insn, &results);
        tally->instructions++;
        tally->by_kind[results.direct.outcome.kind]++;
        if (options->stream)
            stream_instruction(&insn, recorded);
        const struct amxemu_state after = results.direct.state;
        const struct shadow memory = results.direct_memory;
        if (differs(options->lane, &results) && tally->differences++ == 0 && !options->stream) {
            printf("difference: seed %" PRIu64 ", case %" PRIu64 ", family %s\n", options->seed, number,
                   family_names[family]);
            tell(options->lane, &before, &insn, &results);
        }
        before.state = after;
        before.memory = memory;
    }
    if (options->stream &&
        tally->instructions > instructions_before) { /* else the CPU has seen nothing of it */
        stream(recorded->state.tile, sizeof recorded->state.tile);
        stream(options->lane == LANE_EMULATED ? before.memory.bytes : (const uint8_t *)(uintptr_t)ARENA,
               ARENA_SIZE);
    }
}

/* Bits for the instructions first ... last. */
static uint32_t mask_of(enum amxemu_op first, enum amxemu_op last) {
    return (UINT32_C(2) << last) - (UINT32_C(1) << first);
}

#define ROWS mask_of(AMXEMU_TILEMOVROW, AMXEMU_TCVTROWPS2PHL) /* they write ZMM registers */

/* The instructions, from TDPBSSD on, that the results of a family depend on. */
static uint32_t needed_by(enum family family) {
    switch (family) {
    case FAMILY_INT8:
        return mask_of(AMXEMU_TDPBSSD, AMXEMU_TDPBUUD);
    case FAMILY_BF16:
        return mask_of(AMXEMU_TDPBF16PS, AMXEMU_TDPBF16PS);
    case FAMILY_FP16:
        return mask_of(AMXEMU_TDPFP16PS, AMXEMU_TDPFP16PS);
    case FAMILY_ENCODING:
        return mask_of(AMXEMU_TDPBSSD, AMXEMU_TDPFP16PS);
    case FAMILY_COMPLEX:
        return mask_of(AMXEMU_TCMMRLFP16PS, AMXEMU_TCMMIMFP16PS);
    case FAMILY_FP8:
        return mask_of(AMXEMU_TDPBF8PS, AMXEMU_TDPHF8PS);
    case FAMILY_ROW:
        return ROWS;
    case FAMILY_MOVRS:
        return mask_of(AMXEMU_TILELOADDRS, AMXEMU_TILELOADDRST1);
    case FAMILY_NEWER_ENCODING:
        return mask_of(AMXEMU_TCMMRLFP16PS, AMXEMU_TCVTROWPS2PHL);
    case FAMILIES: /* all of them */
        return UINT32_MAX;
    default:
        return 0;
    }
}

static int no_zmm(const struct options *options) {
    return options->vectors != 0 && options->vectors < ZMM_BYTES;
}

/* Without what it is about a family is nothing, and a digest without any of it is another one; but where rows
 * are left out by request, the newer encodings are the others. */
static int is_refused(const struct options *options) {
    const int without_rows = options->family == FAMILY_NEWER_ENCODING && no_zmm(options);
    const uint32_t needed = needed_by(options->family) & (without_rows ? ~ROWS : UINT32_MAX);
    const uint32_t lacking = missing & needed;
    if (!lacking || !(options->stream || (options->family < FAMILIES && lacking == needed)))
        return 0;
    fprintf(stderr, "differential: family %s cannot run: this CPU lacks",
            options->family < FAMILIES ? family_names[options->family] : "all");
    for (enum amxemu_op op = AMXEMU_TDPBSSD; op < AMXEMU_OPS; op++)
        if (lacking >> op & 1)
            fprintf(stderr, " %s", amxemu_mnemonic(op));
    fprintf(stderr, "\n");
    return 1;
}

/* ---- encodings: #UD or not, the same for the table, the decoder and the CPU ---- */

static int decoder_agrees(const struct insn *insn) {
    struct amxemu_insn decoded;
    const int valid = amxemu_decode(insn->bytes, sizeof insn->bytes, &decoded) == AMXEMU_VALID;
    return valid == insn->valid && (!valid || (decoded.op == insn->op && decoded.length == insn->length));
}

/* With tiles of one row of one element, every product and move has the shapes it wants. */
static int cpu_agrees(const struct insn *insn) {
    static struct amxemu_state state = {.palette = 1};
    uint8_t zmm[ZMM_BYTES];
    int disturbed;
    for (unsigned t = 0; t < AMXEMU_TILES; t++) {
        state.rows[t] = 1;
        state.colsb[t] = 4;
    }
    cpu_set(&state);
    return (cpu_run(insn, zmm, &disturbed).kind != AMXEMU_UD) == insn->valid;
}

static int sweep(const struct options *options) {
    uint64_t encodings = 0, valid = 0, left_out = 0, differences = 0;
    for (uint64_t number = 0; number < sweep_count; number += options->sweep) {
        struct insn insn;
        sweep_encode(number, &insn);
        insn.others = number;
        const int can_run = !insn.valid || (!(missing >> insn.op & 1) && !sweep_is_dangerous(&insn));
        const int agreed =
            decoder_agrees(&insn) && (options->lane == LANE_EMULATED || !can_run || cpu_agrees(&insn));
        encodings++;
        valid += (uint64_t)insn.valid;
        left_out += options->lane != LANE_EMULATED && !can_run;
        if (!agreed && differences++ == 0) {
            printf("difference: encoding %" PRIu64 ", by the table %s:", number,
                   insn.valid ? "valid" : "#UD");
            for (unsigned i = 0; i < insn.length; i++)
                printf(" %02x", insn.bytes[i]);
            printf("\n");
        }
    }
    printf("lane %s: %" PRIu64 " encodings (%" PRIu64 " valid, %" PRIu64 " of them not run), %" PRIu64
           " differences\n",
           lane_names[options->lane], encodings, valid, left_out, differences);
    return differences != 0;
}

static int usage(void) {
    fprintf(stderr,
            "usage: differential [--lane auto|native|trapped|patched|emulated] [--count N] [--seed S]\n"
            "                    [--family NAME] [--vectors BYTES] [--stream] [--sweep EVERY]\n");
    return 2;
}

static int index_of(const char *name, const char *const *names, int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

/* 0, or 2 for a usage error. */
static int parse(int argc, char **argv, struct options *options) {
    int automatic = 1;
    *options = (struct options){.count = 200000, .seed = 1, .family = FAMILIES};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--stream") == 0) {
            options->stream = 1;
            continue;
        }
        if (strcmp(argv[i], "--count") == 0) {
            options->count = strtoull(value, NULL, 0);
        } else if (strcmp(argv[i], "--seed") == 0) {
            options->seed = strtoull(value, NULL, 0);
        } else if (strcmp(argv[i], "--sweep") == 0) {
            options->sweep = strtoull(value, NULL, 0);
        } else if (strcmp(argv[i], "--vectors") == 0) {
            options->vectors = (unsigned)strtoul(value, NULL, 0);
        } else if (strcmp(argv[i], "--family") == 0) {
            const int family = index_of(value, family_names, FAMILIES);
            if (family < 0)
                return usage();
            options->family = (enum family)family;
        } else if (strcmp(argv[i], "--lane") == 0) {
            const int lane = index_of(value, lane_names, LANES);
            automatic = strcmp(value, "auto") == 0;
            if (lane < 0 && !automatic)
                return usage();
            if (lane >= 0)
                options->lane = (enum lane)lane;
        } else {
            return usage();
        }
        i++;
    }
    if (automatic)
        options->lane = cpu_has_usable_tiles() ? LANE_NATIVE : LANE_TRAPPED;
    return 0;
}

int main(int argc, char **argv) {
    struct options options;
    struct tally tally = {0};
    int error = parse(argc, argv, &options);

    if (error)
        return error;
    error = arena_map();
    if (error == 0)
        error = cpu_prepare(options.lane);
    if (error) {
        fprintf(stderr, "differential: lane %s cannot run: %s\n", lane_names[options.lane],
                error == -EEXIST ? "the OS has enabled tiles, and this process may not use them"
                                 : strerror(-error));
        return CANNOT_RUN;
    }
    fs_base = cpu_fs_base();
    if (options.vectors)
        registers_limit(options.vectors);
    if (options.lane != LANE_EMULATED)
        missing = cpu_missing();
    if (no_zmm(&options))
        missing |= ROWS;
    if (options.sweep)
        return sweep(&options);
    if (is_refused(&options))
        return CANNOT_RUN;
    for (uint64_t number = 0; tally.instructions < options.count; number++)
        run_case(&options, number, &tally);
    if (options.stream) {
        if (tally.differences)
            fprintf(stderr, "differential: %" PRIu64 " differences\n", tally.differences);
        return fflush(stdout) != 0 ? 2 : tally.differences != 0;
    }
    printf("lane %s, seed %" PRIu64 ": %" PRIu64 " instructions (%" PRIu64 " complete, %" PRIu64
           " #UD, %" PRIu64 " #GP, %" PRIu64 " #SS, %" PRIu64 " #PF), %" PRIu64 " differences\n",
           lane_names[options.lane], options.seed, tally.instructions, tally.by_kind[AMXEMU_OK],
           tally.by_kind[AMXEMU_UD], tally.by_kind[AMXEMU_GP], tally.by_kind[AMXEMU_SS],
           tally.by_kind[AMXEMU_PF], tally.differences);
    if (tally.left_out)
        printf("Left out, since they cannot be run so here: %" PRIu64 " instructions.\n", tally.left_out);
    if (options.lane == LANE_TRAPPED || options.lane == LANE_PATCHED)
        printf("Not executed by this CPU: encodings, operands, decode and step are compared, and the best\n"
               "path with the scalar one. About silicon's numerics it says nothing.\n");
    return tally.differences != 0;
}
