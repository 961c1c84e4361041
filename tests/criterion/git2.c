/* A libgit2 for the programs of unit tests that does nothing.
 *
 * Criterion shows how two texts differ by libgit2, in one kind of assertion that is not used here.
 * It loads it all the same, with 20 libraries that it needs in turn, and has it read all the
 * certificates of the system, once for each test case, since each is a process of its own: half the
 * processor time of many unit tests. */

int git_libgit2_init(void);
int git_libgit2_shutdown(void);
int git_diff_buffers(void);

__attribute__((visibility("default"))) int git_libgit2_init(void)
{
    return 1;
}

__attribute__((visibility("default"))) int git_libgit2_shutdown(void)
{
    return 0;
}

/* Tells of no differences. The parameters are not looked at. */
__attribute__((visibility("default"))) int git_diff_buffers(void)
{
    return 0;
}
