/* cli/member.h - the members of a cluster as written on the command line. Pure functions. */
#ifndef CLI_MEMBER_H
#define CLI_MEMBER_H

#include "conclave.h"

/* Strings that a struct conclave_member can point to. */
struct member {
    char name[CONCLAVE_NAME_BYTES_MAX + 1];
    char peer[CONCLAVE_ENDPOINT_BYTES_MAX + 1];
    char client[CONCLAVE_ENDPOINT_BYTES_MAX + 1]; /* "": as the library derives it from peer */
};

/* Reads NAME=PEER[+CLIENT],... into ret[CONCLAVE_VOTERS_MAX]. Whether names and endpoints are good
 * is the library's business; this checks the form. Errors: INVALID, with a sentence. */
CONCLAVE_MUST_USE int member_list_parse(const char *text, struct member *ret, size_t *ret_count,
                                        struct conclave_error *error);

/* Points ret[i] at members[i]. */
void member_list_view(const struct member *members, size_t count, struct conclave_member *ret);

#endif
