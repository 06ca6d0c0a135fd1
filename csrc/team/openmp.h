/* The OpenMP runtime that others have brought into the process, such as torch's libgomp. */
#ifndef AMX_TEAM_OPENMP_H
#define AMX_TEAM_OPENMP_H

struct team_openmp {
    void (*parallel)(void (*body)(void *), void *work, unsigned threads, unsigned flags); /* GOMP_parallel */
    int (*rank)(void), (*size)(void), (*most)(void), (*is_parallel)(void);
};

/* NULL: there is none, or none was there a moment ago; one that comes is found within a tenth of a second. */
const struct team_openmp *team_openmp(void);
/* Without a look: the loader's locks may be held by nobody in a forked child. */
const struct team_openmp *team_openmp_found(void);
/* Whether this process was forked and there is a runtime already: it may have had threads in the parent,
 * which are gone. To be asked when the library is loaded. 0 where /proc does not say. */
int team_openmp_is_of_parent(void);

#endif
