/* What the programs of zeroed structs share: a check that counts, structs of zeros, one pair. */
#include <dpo_kernel.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static int failures = 0;

#define CHECK(condition)                                            \
    do {                                                            \
        if (!(condition)) {                                         \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            failures += 1;                                          \
        }                                                           \
    } while (0)

/* A struct of zeros; whoever cares says its size. */
#define ZEROED(type, name) \
    type name;             \
    memset(&name, 0, sizeof name)
#define SIZED(type, name) \
    ZEROED(type, name);   \
    name.size = sizeof name
/* A result that holds anything before it is written. */
#define DIRTY(type, name) \
    type name;            \
    memset(&name, 0xa5, sizeof name)
#define CASE(type) printf("%s\n", #type)

static int near(double found, double expected) { return fabs(found - expected) <= 1e-6; }

static const dpo_pair PAIR = {0, 1};
static const double ZEROS[2] = {0.0, 0.0};
