/* The arguments of this run, for running the image again. */
#ifndef AMX_PROVOKE_MAIN_H
#define AMX_PROVOKE_MAIN_H

enum { PROVOKE_ARGUMENTS = 9 };
/* Those of the same run at another stage, NULL-terminated. */
void provoke_arguments(char *arguments[PROVOKE_ARGUMENTS], const char *stage);

#endif
