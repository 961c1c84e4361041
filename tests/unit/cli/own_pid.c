#include "cli/own_pid.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static bool right(void)
{
    return getpid() == (pid_t)syscall(SYS_getpid);
}

Test(own_pid, is_the_systems_before_and_behind_init_and_in_children)
{
    cr_expect(right());
    own_pid_init();
    cr_expect(right());
    pid_t child = fork();
    if (child == 0) {
        bool was_right = right();
        own_pid_init();
        _exit(was_right && right() ? 0 : 1);
    }
    cr_assert_gt(child, 0);
    int status = -1;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child has another process id");
}

/* Else it is of no use: libraries would ask the C library. */
Test(own_pid, stands_in_front_of_the_c_librarys)
{
    pid_t (*found)(void);
    *(void **)&found = dlsym(RTLD_DEFAULT, "getpid");
    cr_assert(found);
    own_pid_init();
    cr_expect_eq(found, getpid);
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
    cr_assert(libc);
    cr_expect_neq(*(void **)&found, dlsym(libc, "getpid"));
    dlclose(libc);
}
