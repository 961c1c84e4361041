/* A client of the library that calls the machine at once, in place of a node. */
#ifndef TESTS_MACHINE_CLIENT_STUB_H
#define TESTS_MACHINE_CLIENT_STUB_H

#include "rig.h"

#include <criterion/criterion.h>

struct conclave_client {
    struct rig *rig;
    unsigned calls;
    unsigned live;       /* replies held */
    unsigned fail_after; /* this many calls the client fails; 0: never */
    int code;            /* with this code */
    uint32_t timeout_ms; /* of the last operation */
};

extern struct conclave_client *the_client; /* for conclave_op_release, which does not name one */

static inline struct conclave_client client_setup(void)
{
    return (struct conclave_client){.rig = rig_create()};
}

static inline void client_teardown(struct conclave_client *client)
{
    cr_assert_eq(client->live, 0, "every reply is released");
    rig_destroy(client->rig);
}

#endif
