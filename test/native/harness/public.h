/* Included before everything by the builds for valgrind: what the C declares public counts as defined from then on. */
#include <valgrind/memcheck.h>

#define MOTE_PUBLIC(variable) ((void)VALGRIND_MAKE_MEM_DEFINED(&(variable), sizeof(variable)))
