#include "raft/raft.h"

#include <stdlib.h>

void raft_output_clear(struct raft_output *output)
{
    raft_messages_clear(&output->send_now);
    raft_messages_clear(&output->persist.send_after);
    raft_runs_clear(&output->persist.entries);
    raft_runs_clear(&output->apply);
    output->persist = (struct raft_persist){0};
    output->install = (struct raft_id){0};
    output->reads_begun.count = 0;
    output->reads.count = 0;
    output->fetches.count = 0;
    output->snapshot_wanted = false;
    output->refused.count = 0;
    output->transfers.count = 0;
    output->trace.count = 0;
    output->deadline_us = 0;
    output->error = (struct conclave_error){0};
}

void raft_output_deinit(struct raft_output *output)
{
    raft_output_clear(output);
    free(output->reads_begun.items);
    free(output->reads.items);
    free(output->fetches.items);
    free(output->refused.items);
    free(output->transfers.items);
    free(output->trace.items);
    *output = (struct raft_output){0};
}
