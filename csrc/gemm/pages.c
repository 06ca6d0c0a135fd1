/* Memory for panels, on huge pages where they help.
 *
 * Panels of B are read from one end to the other for every block of rows. With pages of 4 KiB a stream of
 * them needs a translation every four tiles, and 16 MiB more translations than a core keeps; prefetchers stop
 * at page borders. So buffers of at least one huge page are aligned to it and advised MADV_HUGEPAGE. Where
 * the kernel has no huge pages, or is told not to use them, the advice is refused or ignored, and that is
 * all.
 */
#include <stdlib.h>
#include <sys/mman.h>

#include "gemm/gemm.h"

enum { HUGE_PAGE = 2 << 20, LINE = 64 };

int gemm_wants_huge_pages(double size) {
    return size >= HUGE_PAGE;
}

/* Only whole huge pages are advised, so that no memory is taken beyond what was asked for. */
void *gemm_pages(size_t size) {
    void *pages = NULL;
    const int huge = gemm_wants_huge_pages((double)size);
    if (posix_memalign(&pages, huge ? HUGE_PAGE : LINE, size > 0 ? size : LINE) != 0) {
        return NULL;
    }
#if defined(MADV_HUGEPAGE)
    if (huge) {
        (void)madvise(pages, size / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);
    }
#endif
    return pages;
}
