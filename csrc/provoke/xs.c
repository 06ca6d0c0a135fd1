/* The provocations of group XS. */
#include "provoke.h"

const struct provocation provoke_xs[] = {{0}};
