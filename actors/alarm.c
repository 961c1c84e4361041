#include "actors/alarm.h"

void alarm_init(struct alarm *alarm)
{
    *alarm = (struct alarm){.near_us = UINT64_MAX, .armed_us = UINT64_MAX};
}

bool alarm_set(struct alarm *alarm, uint64_t deadline_us, uint64_t now_us)
{
    bool near = deadline_us < now_us + ALARM_NEAR_US;
    alarm->near_us = near ? deadline_us : UINT64_MAX;
    if (near || deadline_us >= alarm->armed_us)
        return false;
    alarm->armed_us = deadline_us;
    alarm->epoch++;
    return true;
}

void alarm_fired(struct alarm *alarm, uint64_t epoch)
{
    if (epoch == alarm->epoch)
        alarm->armed_us = UINT64_MAX;
}

bool alarm_is_due(struct alarm *alarm, uint64_t now_us)
{
    if (now_us < alarm->near_us)
        return false;
    alarm->near_us = UINT64_MAX;
    return true;
}
