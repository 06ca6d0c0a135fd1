/* The provocations of group KVM. */
#include "provoke.h"

const struct provocation provoke_kvm[] = {{0}};
