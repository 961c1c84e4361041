"""The checks of histories find what they are there to find, and nothing in histories that are right."""

import copy
import os
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import linearizable  # noqa: E402
import serial  # noqa: E402
import told  # noqa: E402
from history import NEVER, OK, UNKNOWN, Held, History, Lived, Op, Publish, Subscribed, Watched  # noqa: E402

K, J = b"k", b"j"


def op(what, start, end, outcome=OK, **fields):
    return Op(client=0, what=what, start=start, end=end, outcome=outcome, group="g", **fields)


def put(value, start, end, outcome=OK, revision=0, key=K):
    return op("put", start, end, outcome, writes={key: value}, revision=revision)


def get(value, start, end, revision=0, key=K):
    return op("get", start, end, got={key: value}, revision=revision)


def cas(old, new, held, start, end, **fields):
    return op("cas", start, end, compares={K: old}, writes={K: new}, held=held, **fields)


def events_of(*revisions):
    """{revision: events} of (revision, {key: value})."""
    return {revision: [(1 if value is not None else 2, key, value, revision) for key, value in changes.items()]
            for revision, changes in revisions}


class Linearizable(unittest.TestCase):
    def search(self, *ops):
        return linearizable.check_group(list(ops))

    def test_an_order_is_found(self):
        self.assertIsNone(self.search(put(b"1", 0, 10), get(None, 1, 2), get(b"1", 3, 4), put(b"2", 11, 20),
                                      get(b"1", 12, 13), get(b"2", 14, 15), get(b"2", 21, 22)))

    def test_a_stale_read_is_found(self):
        self.assertIn("not one of", self.search(put(b"1", 0, 1), put(b"2", 2, 3), get(b"1", 4, 5)))

    def test_a_read_that_goes_back_is_found(self):
        self.assertIsNotNone(self.search(put(b"1", 0, 1), put(b"2", 2, 9), get(b"2", 3, 4), get(b"1", 5, 6)))

    def test_a_read_of_what_nobody_wrote_is_found(self):
        self.assertIsNotNone(self.search(put(b"1", 0, 1), get(b"9", 2, 3)))

    def test_two_who_swapped_the_same_value_are_found(self):
        self.assertIsNotNone(self.search(put(b"1", 0, 1), cas(b"1", b"2", True, 2, 9), cas(b"1", b"3", True, 3, 8)))
        self.assertIsNone(self.search(put(b"1", 0, 1), cas(b"1", b"2", True, 2, 9), cas(b"1", b"3", False, 3, 8)))

    def test_a_swap_that_has_to_hold_and_did_not_is_found(self):
        self.assertIsNotNone(self.search(put(b"1", 0, 1), cas(b"1", b"2", False, 2, 3)))

    def test_a_lost_write_is_found(self):
        self.assertIsNotNone(self.search(put(b"1", 0, 1), get(None, 2, 3)))

    def test_a_delete_that_tells_the_wrong_thing_is_found(self):
        gone = op("delete", 2, 3, writes={K: None}, existed={K: False})
        self.assertIsNotNone(self.search(put(b"1", 0, 1), gone))

    def test_half_of_a_transaction_is_found(self):
        both = op("txn", 0, 9, writes={K: b"1", J: b"1"})
        half = op("txn", 1, 2, got={K: b"1", J: None})
        self.assertIsNotNone(self.search(both, half))
        self.assertIsNone(self.search(both, op("txn", 1, 2, got={K: b"1", J: b"1"})))

    def test_one_without_an_answer_may_come_late_or_never_but_not_twice(self):
        late = put(b"1", 0, 0, UNKNOWN)
        self.assertIsNone(self.search(late, get(None, 5, 6), get(b"1", 7, 8)))
        self.assertIsNone(self.search(late, get(None, 5, 6)))
        self.assertIsNotNone(self.search(late, get(b"1", 5, 6), put(b"2", 7, 8), get(b"2", 9, 10), get(b"1", 11, 12)))

    def test_one_without_an_answer_does_not_come_before_it_was_sent(self):
        self.assertIsNotNone(self.search(get(b"1", 0, 1), put(b"1", 2, 2, UNKNOWN)))

    def test_one_that_nobody_saw_explains_a_compare_that_failed(self):
        self.assertIsNone(self.search(put(b"1", 0, 1), put(b"2", 2, 2, UNKNOWN), cas(b"1", b"3", False, 4, 5)))
        self.assertIsNotNone(self.search(put(b"1", 0, 1), put(b"2", 6, 6, UNKNOWN), cas(b"1", b"3", False, 4, 5)))

    def test_groups_are_looked_at_apart_and_a_long_search_is_given_up(self):
        stale = [put(b"1", 0, 1), put(b"2", 2, 3), get(b"1", 4, 5)]
        other = put(b"3", 0, 1)
        other.group = "h"
        problems, undecided = linearizable.check(History(ops=[*stale, other]))
        self.assertEqual((len(problems), undecided), (1, 0))
        many = [put(b"%d" % i, 0, 100) for i in range(60)] + [get(b"none", 101, 102)]
        started = time.monotonic()
        self.assertEqual(linearizable.check(History(ops=many), 0.01)[1], 1)
        self.assertLess(time.monotonic() - started, 30)


def good():
    """A history that is right."""
    history = History(ops=[put(b"1", 0, 10, revision=1), put(b"2", 20, 30, revision=2), get(b"2", 31, 40, revision=2),
                           cas(b"2", b"3", True, 41, 50, revision=4), cas(b"2", b"4", False, 51, 60, revision=4),
                           put(b"5", 61, 70, UNKNOWN), put(b"6", 61, 70, NEVER),
                           op("txn", 71, 80, writes={K: b"7", J: b"7"}, revision=6),
                           op("delete", 81, 90, writes={J: None}, existed={J: True}, revision=7)],
                      publishes=[Publish(0, b"t", [b"a", b"b"], 31, 40, OK, 3, 1),
                                 Publish(0, b"t", [b"c"], 91, 95, UNKNOWN), Publish(0, b"t", [b"d"], 91, 95, NEVER)],
                      topics={b"t": [(1, 3, b"a"), (2, 3, b"b"), (3, 8, b"c")]}, revision=8)
    history.events = events_of((1, {K: b"1"}), (2, {K: b"2"}), (4, {K: b"3"}), (5, {K: b"5"}),
                               (6, {K: b"7", J: b"7"}), (7, {J: None}))
    history.watched = [Watched("w", 2, [(3, history.events[2]), (6, history.events[4] + history.events[5]),
                                        (7, history.events[6]), (8, history.events[7])],
                               [(5, {K: b"3"}), (8, {K: b"7"})], 9)]
    history.subscribed = [Subscribed("s", b"t", history.topics[b"t"][:2])]
    history.holds = [Held(0, 10, 0, 5), Held(1, 12, 6, 9)]
    history.lives = [Lived(b"l", 0, 5, 1, [(1000000, 2000000, True), (3000000, 5000000, False)])]
    return history


class Claimed(unittest.TestCase):
    """What is wrong is one thing each time, in the history that is right."""

    def problems(self, change):
        history = copy.deepcopy(good())
        change(history)
        return serial.check(history) + told.check(history)

    def assert_found(self, sentence, change):
        problems = self.problems(change)
        self.assertTrue(any(sentence in problem for problem in problems), problems)

    def test_nothing_is_found_in_a_history_that_is_right(self):
        self.assertEqual(self.problems(lambda history: None), [])

    def test_wrong_answers_are_found(self):
        self.assert_found("was b'2'", lambda h: h.ops[2].got.update({K: b"1"}))
        self.assert_found("judged otherwise", lambda h: h.ops[4].compares.update({K: b"3"}))
        self.assert_found("was not there", lambda h: h.ops[8].existed.update({b"x": True}))
        self.assert_found("behind the end", lambda h: setattr(h.ops[2], "revision", 99))

    def test_lost_and_altered_writes_are_found(self):
        self.assert_found("revision 2 is None", lambda h: h.events.pop(2))
        self.assert_found("revision 6 is", lambda h: h.events[6].pop())
        self.assert_found("nobody's", lambda h: h.events.update(events_of((3, {K: b"x"}))))
        self.assert_found("nobody can have asked", lambda h: h.events.update(events_of((3, {K: None}))))

    def test_what_was_done_twice_is_found(self):
        self.assert_found("carried out at 5 and at 8", lambda h: h.events.update(events_of((8, {K: b"5"}))))
        self.assert_found("carried out again", lambda h: h.events.update(events_of((8, {K: b"1"}))))

    def test_what_surely_was_not_done_and_was_is_found(self):
        self.assert_found("surely not carried out", lambda h: h.events.update(events_of((8, {K: b"6"}))))
        self.assert_found("surely not carried out", lambda h: h.topics[b"t"].append((4, 9, b"d")))

    def test_an_order_against_real_time_is_found(self):
        self.assert_found("had been answered", lambda h: (setattr(h.ops[2], "revision", 1),
                                                          h.ops[2].got.update({K: b"1"})))
        self.assert_found("had been answered", lambda h: setattr(h.ops[5], "start", 81))

    def test_reads_that_are_older_than_they_say_are_found(self):
        def stale(end, stale_ms):
            return lambda h: h.ops.append(op("stale", end - 5, end, got={K: b"1"}, revision=1, stale_ms=stale_ms))

        self.assertEqual(self.problems(stale(10_000_000, 10)), [])
        self.assert_found("had been answered", stale(10_000_000, 9))

    def test_what_watchers_missed_got_twice_or_in_parts_is_found(self):
        self.assert_found("told None", lambda h: h.watched[0].batches.pop(0))
        self.assert_found("behind", lambda h: h.watched[0].batches.insert(1, h.watched[0].batches[0]))
        self.assert_found("revision 6 is", lambda h: h.watched[0].batches.__setitem__(2, (7, h.events[6][:1])))
        self.assert_found("is not behind", lambda h: h.watched[0].batches.__setitem__(3, (7, h.events[7])))
        self.assert_found("another one in", lambda h: h.watched[0].states.append((6, {K: b"3"})))

    def test_topics_with_losses_gaps_and_repetitions_are_found(self):
        self.assert_found("sequences are not", lambda h: h.topics[b"t"].pop(0))
        self.assert_found("is there twice", lambda h: h.topics[b"t"].append((4, 9, b"a")))
        self.assert_found("not where it was said", lambda h: h.topics[b"t"].__setitem__(1, (2, 3, b"x")))
        self.assert_found("there in part", lambda h: h.publishes[1].messages.append(b"e"))
        self.assert_found("by nobody", lambda h: h.topics[b"t"].append((4, 9, b"x")))
        self.assert_found("do not rise", lambda h: h.topics[b"t"].__setitem__(2, (3, 2, b"c")))
        self.assert_found("was told", lambda h: h.subscribed[0].messages.pop(0))
        self.assert_found("was told", lambda h: h.subscribed[0].messages.append((4, 9, b"z")))

    def test_two_holders_and_tokens_that_fall_are_found(self):
        self.assert_found("two hold", lambda h: setattr(h.holds[1], "start", 4))
        self.assert_found("did not rise", lambda h: setattr(h.holds[1], "token", 9))


    def test_keys_that_end_early_or_not_together_are_found(self):
        self.assert_found("was gone 4 ms into its 5 ms", lambda h: h.lives[0].looks.append((3000000, 4000000, False)))
        self.assert_found("ended at", lambda h: (h.events.update({8: [(3, b"l", None, 8)]}),
                                                 h.lives.append(Lived(b"m", 0, 5, 1))))

    def test_messages_apart_from_their_transaction_are_found(self):
        self.assertEqual(self.problems(lambda h: setattr(h.publishes[0], "op", op("txn", 31, 40, writes={}))), [])
        self.assert_found("in a transaction at", lambda h: setattr(h.publishes[0], "op", h.ops[7]))


if __name__ == "__main__":
    unittest.main()
