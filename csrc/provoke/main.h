/* How a run ends, and its arguments, for running the image again. */
#ifndef AMX_PROVOKE_MAIN_H
#define AMX_PROVOKE_MAIN_H

enum { EXIT_USAGE = 2, EXIT_BROKEN = 70, EXIT_CANNOT = 77 };
enum { PROVOKE_ARGUMENTS = 9 };
/* Those of the same run at another stage, NULL-terminated. */
void provoke_arguments(char *arguments[PROVOKE_ARGUMENTS], const char *stage);

#endif
