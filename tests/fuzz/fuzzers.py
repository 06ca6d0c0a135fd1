"""All fuzzers, by their names."""

from fuzz import api, elf_files, logs, npy, recorded, reports, saved, tracees, traces

FUZZERS = {
    fuzzer.name: fuzzer
    for fuzzer in (
        *api.FUZZERS,
        elf_files.CODE,
        elf_files.SYMBOLS,
        logs.FUZZER,
        npy.FUZZER,
        recorded.FUZZER,
        traces.JSON,
        traces.FILES,
        reports.FUZZER,
        saved.FUZZER,
        *tracees.FUZZERS,
    )
}
