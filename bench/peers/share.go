// share.go - loads in which clients meet: watchers and subscribers, and locks; see measure.go.
package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// What a peer's client may be able to do besides; a loader is asked for what its peer has.
type transactor interface {
	// txn puts two keys as one, on a condition that holds.
	txn(one, two string, first, second []byte, limit time.Duration) error
}

type locker interface {
	// mutex makes the handle of a client: take and give wait until it is done.
	mutex(name string) (handle, error)
}

type handle interface {
	take(limit time.Duration) error
	give(limit time.Duration) error
	// rank rises from holder to holder.
	rank() int64
}

type broadcaster interface {
	// follow calls heard from one goroutine with every value that is written behind `from`, the count of
	// messages for a topic; it returns once nothing is missed that comes from now on.
	follow(prefix string, from uint64, heard func(value []byte)) error
}

func (s *settings) listens() bool { return s.workload == "watch" || s.workload == "sub" }
func (s *settings) locks() bool   { return strings.HasPrefix(s.workload, "lock") }

// each is how many operations a written value stands for.
func (s *settings) each() uint64 {
	if s.listens() {
		return uint64(s.listeners)
	}
	return 1
}

// --- those who are told

const stampBytes = 20

// wait is what a client waits for.
type wait struct {
	number, told uint64
	done         chan bool
}

func (l *load) stamp(client int, number uint64, due time.Time, value []byte) {
	w := &l.waits[client]
	atomic.StoreUint64(&w.told, 0)
	atomic.StoreUint64(&w.number, number+1)
	binary.LittleEndian.PutUint64(value, number)
	binary.LittleEndian.PutUint64(value[8:], uint64(due.Sub(l.begin)))
	binary.LittleEndian.PutUint32(value[16:], uint32(client))
}

// heard is a value that a listener was told.
func (l *load) heard(listener int, value []byte, seen map[uint64]bool) {
	if len(value) < stampBytes {
		return
	}
	number := binary.LittleEndian.Uint64(value)
	due := l.begin.Add(time.Duration(binary.LittleEndian.Uint64(value[8:])))
	client := binary.LittleEndian.Uint32(value[16:])
	if int(client) >= len(l.waits) || atomic.LoadUint64(&l.waits[client].number) != number+1 {
		return
	}
	if seen[number] {
		if atomic.LoadUint64(&l.rec.retried) == 0 { // else it may have been written twice
			atomic.AddUint64(&l.mismatches, 1)
		}
		return
	}
	seen[number] = true
	atomic.AddUint64(&l.read, 1)
	if !due.Before(l.rec.start) {
		l.rec.add(listener, time.Since(due))
	}
	if atomic.AddUint64(&l.waits[client].told, 1) == uint64(l.s.listeners) {
		l.waits[client].done <- true
	}
}

// await waits until all listeners were told.
func (l *load) await(client int, due time.Time) bool {
	select {
	case <-l.waits[client].done:
		return true
	case <-time.After(time.Until(due.Add(l.s.timeout))):
		l.rec.addError(client)
		atomic.StoreInt32(&l.ended, 1)
		fmt.Printf("failed what was acknowledged came to %d of %d listeners\n", atomic.LoadUint64(&l.waits[client].told), l.s.listeners)
		return false
	}
}

func (l *load) topic() bool { return l.s.workload == "pub" || l.s.workload == "sub" }

func (l *load) count() uint64 {
	count, err := l.conns[0].published()
	if err != nil {
		fail("the topic does not answer: %v", err)
	}
	return count
}

// prepare looks at the topic, and has what is there already read by all subscribers.
func (l *load) prepare() {
	for i := range l.waits {
		l.waits[i].done = make(chan bool, 1)
	}
	l.enter()
	if l.topic() {
		l.before = l.count()
	}
	if l.s.workload != "sub" {
		return
	}
	var next uint64
	done := make(chan error)
	for i := 0; i < 64; i++ {
		go func(c connection) {
			var err error
			for err == nil && atomic.AddUint64(&next, 1) <= l.s.backlog {
				err = c.publish(l.keys.value(l.keys.key(0)), l.s.timeout)
			}
			done <- err
		}(l.conns[i%len(l.conns)])
	}
	for i := 0; i < 64; i++ {
		if err := <-done; err != nil {
			fail("writing what is to be read failed: %v", err)
		}
	}
	end := l.count()
	wanted := end - l.before
	begin := time.Now()
	for i := 0; i < l.s.listeners; i++ {
		got := uint64(0)
		err := l.conns[i%len(l.conns)].(broadcaster).follow(l.s.prefix, l.before, func([]byte) {
			if got++; got == wanted {
				done <- nil
			}
		})
		if err != nil {
			fail("cannot subscribe: %v", err)
		}
	}
	for i := 0; i < l.s.listeners; i++ {
		select {
		case <-done:
		case <-time.After(l.s.timeout + time.Minute):
			fail("subscribers do not get on")
		}
	}
	l.replay = time.Since(begin)
	l.replayed = wanted * uint64(l.s.listeners)
	l.before = end
}

// listen begins to listen.
func (l *load) listen() {
	for i := 0; l.s.listens() && i < l.s.listeners; i++ {
		i, seen := i, make(map[uint64]bool)
		err := l.conns[i%len(l.conns)].(broadcaster).follow(l.s.prefix, l.before, func(value []byte) {
			l.heard(i, value, seen)
		})
		if err != nil {
			fail("cannot listen: %v", err)
		}
	}
}

// --- locks

// room is where those are who want one lock.
type room struct {
	holders, released, rank int64
	handles                 []handle
}

// lock takes a lock and gives it back; see bench/lockers.h for what is measured.
func (l *load) lock(client int, due time.Time) bool {
	mine := l.room.handles[client]
	queue := l.s.workload == "lock-queue"
	err := mine.take(l.s.timeout)
	held := time.Now()
	var latency time.Duration
	if err == nil && queue {
		if released := atomic.LoadInt64(&l.room.released); released > 0 {
			latency = held.Sub(l.begin) - time.Duration(released)
		}
		if atomic.AddInt64(&l.room.holders, 1) != 1 || atomic.SwapInt64(&l.room.rank, mine.rank()) >= mine.rank() {
			atomic.AddUint64(&l.mismatches, 1)
			fmt.Fprintln(os.Stderr, "a lock had two holders")
		}
		atomic.AddUint64(&l.read, 1)
		atomic.AddInt64(&l.room.holders, -1)
		atomic.StoreInt64(&l.room.released, int64(time.Since(l.begin)))
	}
	if err == nil {
		err = mine.give(l.s.timeout)
	}
	if err != nil {
		l.rec.addError(client)
		atomic.StoreInt32(&l.ended, 1)
		fmt.Printf("failed %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
		return false
	}
	if !queue {
		latency = time.Since(due)
	}
	if due.Before(l.rec.start) {
		return true
	}
	if latency > 0 {
		l.rec.add(client, latency)
	} else { // the first holder took it from nobody
		l.rec.addDone(client)
	}
	return true
}

// enter makes the handles, before anything is measured.
func (l *load) enter() {
	for i := 0; l.s.locks() && i < l.s.clients; i++ {
		name := l.keys.key(0)
		if l.s.workload == "lock" {
			name = l.keys.key(uint64(i))
		}
		handle, err := l.conns[i%len(l.conns)].(locker).mutex(name)
		if err != nil {
			fail("cannot make a lock: %v", err)
		}
		l.room.handles = append(l.room.handles, handle)
	}
}
