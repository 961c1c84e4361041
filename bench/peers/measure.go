// measure.go - the part that is common to the programs that load peers of conclave.
//
// They make the same load as bench/generator.c, with the same keys, and print what came of it in lines
// that bench/loader.c reads (docs/benchmark.md, "Loaders"): histograms with the buckets of
// bench/histogram.h, one for each second.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"math"
	"math/bits"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	halfBits = 10
	half     = 1 << halfBits
	buckets  = (64 - halfBits + 1) << halfBits
	shards   = 16

	coarseBits    = 5
	coarseBuckets = (64 - coarseBits + 1) << coarseBits

	attemptLimit = 2 * time.Second
	zipfTheta    = 0.99
)

type settings struct {
	task, endpoints, workload, prefix, dist, level string
	clients, conns, valueSize, nodes               int
	rate, readRatio                                float64
	ops, keys, seed                                uint64
	duration, warmup, timeout                      time.Duration
	validate                                       bool
	listeners                                      int
	backlog                                        uint64
}

// connection is what a peer's client can do; used by several goroutines.
type connection interface {
	put(key string, value []byte, limit time.Duration) error
	// get answers nil without an error for a key that is not there.
	get(key string, level string, limit time.Duration) ([]byte, error)
	// publish gives a message to a topic, and waits until it is acknowledged.
	publish(value []byte, limit time.Duration) error
	// published counts the messages that the topic was ever given.
	published() (uint64, error)
}

func parseSettings() *settings {
	s := &settings{}
	ms := func(name string) *int64 { return flag.Int64(name, 0, "milliseconds") }
	flag.StringVar(&s.task, "task", "run", "run, fill, ready or leader")
	flag.StringVar(&s.endpoints, "endpoints", "", "comma-separated")
	flag.StringVar(&s.workload, "workload", "put", "put, get, mixed, txn, watch, lock, lock-queue, pub or sub")
	flag.IntVar(&s.listeners, "listeners", 16, "watchers or subscribers")
	flag.Uint64Var(&s.backlog, "backlog", 100000, "messages that subscribers read first")
	flag.StringVar(&s.prefix, "prefix", "bench/", "of the keys")
	flag.StringVar(&s.dist, "dist", "sequential", "sequential, uniform or zipf")
	flag.StringVar(&s.level, "level", "linear", "linear or stale")
	flag.IntVar(&s.clients, "clients", 1, "operations outstanding")
	flag.IntVar(&s.conns, "conns", 1, "connections")
	flag.IntVar(&s.valueSize, "value-size", 128, "bytes")
	flag.IntVar(&s.nodes, "nodes", 3, "replicas")
	flag.Float64Var(&s.rate, "rate", 0, "operations a second that are due; 0: closed loop")
	flag.Float64Var(&s.readRatio, "read-ratio", 0.5, "of mixed")
	flag.Uint64Var(&s.ops, "ops", math.MaxUint64, "operations in all")
	flag.Uint64Var(&s.keys, "keys", math.MaxUint64, "keys")
	flag.Uint64Var(&s.seed, "seed", 1, "of what is random")
	flag.BoolVar(&s.validate, "validate", false, "read back")
	duration, warmup, timeout := ms("duration"), ms("warmup"), ms("timeout")
	flag.Parse()
	s.duration = time.Duration(*duration) * time.Millisecond
	s.warmup = time.Duration(*warmup) * time.Millisecond
	s.timeout = time.Duration(*timeout) * time.Millisecond
	return s
}

func fail(format string, arguments ...interface{}) {
	fmt.Printf("failed %s\n", strings.ReplaceAll(fmt.Sprintf(format, arguments...), "\n", " "))
	os.Exit(1)
}

// --- keys, as bench/keys.c has them

type keyspace struct {
	s                *settings
	seed             uint64
	zeta, eta, alpha float64
}

func mix(v uint64) uint64 {
	v += 0x9e3779b97f4a7c15
	v = (v ^ (v >> 30)) * 0xbf58476d1ce4e5b9
	v = (v ^ (v >> 27)) * 0x94d049bb133111eb
	return v ^ (v >> 31)
}

func unit(random uint64) float64 { return float64(random>>11) / (1 << 53) }

func newKeyspace(s *settings) *keyspace {
	k := &keyspace{s: s, seed: mix(s.seed)}
	if s.dist != "zipf" {
		return k
	}
	for i := uint64(1); i <= s.keys; i++ {
		k.zeta += 1 / math.Pow(float64(i), zipfTheta)
	}
	k.alpha = 1 / (1 - zipfTheta)
	if s.keys > 2 {
		k.eta = (1 - math.Pow(2/float64(s.keys), 1-zipfTheta)) / (1 - (1+math.Pow(0.5, zipfTheta))/k.zeta)
	}
	return k
}

func (k *keyspace) rank(chance float64) uint64 {
	scaled := chance * k.zeta
	if scaled < 1 || k.s.keys == 1 {
		return 0
	}
	if scaled < 1+math.Pow(0.5, zipfTheta) || k.s.keys == 2 {
		return 1
	}
	rank := float64(k.s.keys) * math.Pow(k.eta*chance-k.eta+1, k.alpha)
	return uint64(math.Min(rank, float64(k.s.keys-1)))
}

func (k *keyspace) pick(number uint64) uint64 {
	random := mix(k.seed ^ mix(number))
	switch k.s.dist {
	case "uniform":
		return random % k.s.keys
	case "zipf":
		return mix(k.rank(unit(random))) % k.s.keys
	}
	return number % k.s.keys
}

func (k *keyspace) chance(number uint64) float64 { return unit(mix(^k.seed ^ mix(number))) }

func (k *keyspace) key(number uint64) string { return fmt.Sprintf("%s%08d", k.s.prefix, number) }

func (k *keyspace) value(key string) []byte {
	period := key + ":"
	return []byte(strings.Repeat(period, k.s.valueSize/len(period)+1)[:k.s.valueSize])
}

// --- histograms

func bucketOf(value uint64, fine int) int {
	shift := 0
	if value >= 2<<uint(fine) {
		shift = 63 - bits.LeadingZeros64(value) - fine
	}
	return shift<<uint(fine) + int(value>>uint(shift))
}

func bucketLast(bucket int, fine int) uint64 {
	of := 1 << uint(fine)
	if bucket < 2*of {
		return uint64(bucket)
	}
	shift := uint(bucket/of - 1)
	return uint64(bucket%of+of)<<shift + (1<<shift - 1)
}

// quantile of counts, and how many there are.
func quantile(counts []uint64, share float64, fine int) (value, count uint64) {
	for _, n := range counts {
		count += n
	}
	rank, seen := math.Max(1, math.Ceil(share*float64(count))), uint64(0)
	for bucket, n := range counts {
		seen += n
		if n > 0 && float64(seen) >= rank {
			return bucketLast(bucket, fine), count
		}
	}
	return 0, count
}

type shard struct {
	sync.Mutex
	counts, spare []uint64
	lags, sources []uint64
	done, errors  uint64
}

type recorder struct {
	s                            *settings
	start                        time.Time // of the measurement, after the warm-up
	shards                       [shards]shard
	begun, done, retried, errors uint64
	last, gap                    int64 // ns after start
	lastDone                     int64
	out                          *bufio.Writer
	second                       int
	served                       [][]uint32 // each client's or listener's own, in coarse buckets
}

func newRecorder(s *settings, start time.Time) *recorder {
	r := &recorder{s: s, start: start, out: bufio.NewWriter(os.Stdout)}
	for i := range r.shards {
		r.shards[i].counts = make([]uint64, buckets)
		r.shards[i].spare = make([]uint64, buckets)
		r.shards[i].lags = make([]uint64, buckets)
		r.shards[i].sources = make([]uint64, buckets)
	}
	r.served = make([][]uint32, s.clients)
	if s.listens() {
		r.served = make([][]uint32, s.listeners)
	}
	for i := range r.served {
		r.served[i] = make([]uint32, coarseBuckets)
	}
	return r
}

// add is called by one goroutine for each client.
func (r *recorder) add(client int, latency time.Duration) {
	r.served[client][bucketOf(uint64(latency), coarseBits)]++
	now := int64(time.Since(r.start))
	before := atomic.SwapInt64(&r.last, now)
	for gap := atomic.LoadInt64(&r.gap); now-before > gap; gap = atomic.LoadInt64(&r.gap) {
		if atomic.CompareAndSwapInt64(&r.gap, gap, now-before) {
			break
		}
	}
	atomic.AddUint64(&r.done, 1)
	shard := &r.shards[client%shards]
	shard.Lock()
	shard.counts[bucketOf(uint64(latency), halfBits)]++
	shard.done++
	shard.Unlock()
}

// addDone counts one that has no latency.
func (r *recorder) addDone(client int) {
	atomic.AddUint64(&r.done, 1)
	shard := &r.shards[client%shards]
	shard.Lock()
	shard.done++
	shard.Unlock()
}

// addSource notes when what listeners are told of was acknowledged.
func (r *recorder) addSource(client int, latency time.Duration) {
	shard := &r.shards[client%shards]
	shard.Lock()
	shard.sources[bucketOf(uint64(latency), halfBits)]++
	shard.Unlock()
}

func (r *recorder) addError(client int) {
	atomic.AddUint64(&r.errors, 1)
	shard := &r.shards[client%shards]
	shard.Lock()
	shard.errors++
	shard.Unlock()
}

func (r *recorder) addLag(client int, lag time.Duration) {
	if lag < 0 {
		lag = 0
	}
	shard := &r.shards[client%shards]
	shard.Lock()
	shard.lags[bucketOf(uint64(lag), halfBits)]++
	shard.Unlock()
}

// flush prints what was done since the last time as one second.
func (r *recorder) flush() {
	total := make(map[int]uint64)
	var done, errors uint64
	for i := range r.shards {
		shard := &r.shards[i]
		shard.Lock()
		shard.counts, shard.spare = shard.spare, shard.counts
		done += shard.done
		errors += shard.errors
		shard.done, shard.errors = 0, 0
		shard.Unlock()
		for bucket, count := range shard.spare {
			if count > 0 {
				total[bucket] += count
				shard.spare[bucket] = 0
			}
		}
	}
	fmt.Fprintf(r.out, "second %d %d %d", r.second, done, errors)
	for bucket, count := range total {
		fmt.Fprintf(r.out, " %d:%d", bucket, count)
	}
	fmt.Fprintln(r.out)
	r.out.Flush()
	r.second++
}

// merged sums up what the shards have.
func (r *recorder) merged(of func(*shard) []uint64) []uint64 {
	all := make([]uint64, buckets)
	for i := range r.shards {
		for bucket, n := range of(&r.shards[i]) {
			all[bucket] += n
		}
	}
	return all
}

// evenness says what bench/clients.h says of how the clients were served.
func (r *recorder) evenness() (least, most, worst, median uint64, fairness float64) {
	var sum, squares float64
	var p99s []uint64
	least = math.MaxUint64
	counts := make([]uint64, coarseBuckets)
	for _, own := range r.served {
		for bucket, n := range own {
			counts[bucket] = uint64(n)
		}
		p99, done := quantile(counts, 0.99, coarseBits)
		sum += float64(done)
		squares += float64(done) * float64(done)
		if done < least {
			least = done
		}
		if done > most {
			most = done
		}
		if done > 0 {
			p99s = append(p99s, p99)
		}
	}
	if len(p99s) > 0 {
		sort.Slice(p99s, func(i, j int) bool { return p99s[i] < p99s[j] })
		worst, median = p99s[len(p99s)-1], p99s[len(p99s)/2]
		fairness = sum * sum / (float64(len(r.served)) * squares)
	}
	return least, most, worst, median, fairness
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// --- the load

type load struct {
	s     *settings
	keys  *keyspace
	rec   *recorder
	conns []connection
	begin time.Time // of the load, with its warm-up
	end   time.Time // zero: no limit
	next  uint64    // number of the next operation
	ended int32     // something failed for good, or time is over
	acked sync.Map
	waits []wait // of the clients, where somebody listens
	room  room   // of those who queue for one lock

	read, mismatches uint64 // keys that were compared
	before           uint64 // messages in the topic
	replayed         uint64
	replay           time.Duration
}

func (l *load) reads(number uint64) bool {
	return l.s.workload == "get" || (l.s.workload == "mixed" && l.keys.chance(number) < l.s.readRatio)
}

// compare holds what was read against what was written.
func (l *load) compare(key string, value []byte) {
	atomic.AddUint64(&l.read, 1)
	if string(value) != string(l.keys.value(key)) {
		atomic.AddUint64(&l.mismatches, 1)
		fmt.Fprintf(os.Stderr, "key '%s' was acknowledged and is missing or has another value\n", key)
	}
}

// once does an operation, again and again until it is done or its time is over.
func (l *load) once(c connection, client int, number uint64, due time.Time) bool {
	key := l.keys.pick(number)
	name := l.keys.key(key)
	counted := !due.Before(l.rec.start)
	written := l.keys.value(name)
	if l.s.listens() {
		l.stamp(client, number, due, written)
	}
	for {
		var err error
		if l.s.workload == "pub" || l.s.workload == "sub" {
			err = c.publish(written, attemptLimit)
		} else if l.s.workload == "txn" {
			one, two := l.keys.key(2*key), l.keys.key(2*key+1)
			err = c.(transactor).txn(one, two, l.keys.value(one), l.keys.value(two), attemptLimit)
		} else if l.reads(number) {
			var value []byte
			value, err = c.get(name, l.s.level, attemptLimit)
			if err == nil {
				l.compare(name, value)
			}
		} else {
			err = c.put(name, written, attemptLimit)
		}
		if err == nil {
			break
		}
		if time.Since(due) >= l.s.timeout {
			l.rec.addError(client)
			atomic.StoreInt32(&l.ended, 1)
			fmt.Printf("failed %s\n", strings.ReplaceAll(err.Error(), "\n", " "))
			return false
		}
		atomic.AddUint64(&l.rec.retried, 1)
		time.Sleep(10 * time.Millisecond)
	}
	if l.s.listens() {
		if counted {
			l.rec.addSource(client, time.Since(due))
		}
		return l.await(client, due)
	}
	if counted {
		l.rec.add(client, time.Since(due))
	}
	if l.s.validate && l.s.workload == "txn" {
		l.acked.Store(2*key, true)
		l.acked.Store(2*key+1, true)
	} else if l.s.validate && l.s.workload != "pub" && !l.reads(number) {
		l.acked.Store(key, true)
	}
	return true
}

func (l *load) client(client int) {
	c := l.conns[client%len(l.conns)]
	free := l.begin
	for atomic.LoadInt32(&l.ended) == 0 {
		number := atomic.AddUint64(&l.next, 1) - 1
		if number >= l.s.ops {
			return
		}
		due := time.Now()
		if l.s.rate > 0 {
			due = l.begin.Add(time.Duration(float64(number) * 1e9 / l.s.rate))
			if !l.end.IsZero() && !due.Before(l.end) {
				return
			}
			if wait := time.Until(due); wait > 0 {
				time.Sleep(wait)
			}
		}
		now := time.Now()
		if !l.end.IsZero() && !now.Before(l.end) {
			return
		}
		if !due.Before(l.rec.start) {
			atomic.AddUint64(&l.rec.begun, l.s.each())
			if l.s.rate > 0 {
				could := due
				if free.After(could) {
					could = free
				}
				l.rec.addLag(client, now.Sub(could))
			}
		}
		if l.s.locks() {
			if !l.lock(client, due) {
				return
			}
		} else if !l.once(c, client, number, due) {
			return
		}
		free = time.Now()
	}
}

// missed counts operations that were due and never begun.
func (l *load) missed() uint64 {
	if l.s.rate <= 0 || l.end.IsZero() {
		return 0
	}
	due := uint64(math.Ceil(float64(l.end.Sub(l.rec.start)) * l.s.rate / 1e9))
	if begun := atomic.LoadUint64(&l.rec.begun) / l.s.each(); due > begun {
		return due - begun
	}
	return 0
}

// check reads back what was acknowledged, or counts it.
func (l *load) check() {
	if l.s.workload == "pub" && l.s.validate {
		count, err := l.conns[0].published()
		if err != nil {
			fail("reading back failed: %v", err)
		}
		l.read = count - l.before
		if l.read < l.rec.done {
			l.mismatches = l.rec.done - l.read
		}
	}
	l.acked.Range(func(number, _ interface{}) bool {
		key := l.keys.key(number.(uint64))
		value, err := l.conns[0].get(key, "linear", l.s.timeout)
		if err != nil {
			fail("reading back failed: %v", err)
		}
		l.compare(key, value)
		return true
	})
}

func run(s *settings, conns []connection) {
	l := &load{s: s, keys: newKeyspace(s), conns: conns, waits: make([]wait, s.clients)}
	l.prepare()
	begin := time.Now()
	l.begin = begin
	l.rec = newRecorder(s, begin.Add(s.warmup))
	if s.duration > 0 {
		l.end = l.rec.start.Add(s.duration)
	}
	l.listen()
	var clients, printer sync.WaitGroup
	stop := make(chan bool)
	printer.Add(1)
	go func() {
		defer printer.Done()
		time.Sleep(time.Until(l.rec.start))
		fmt.Println("start")
		for {
			select {
			case <-stop:
				l.rec.flush()
				return
			case <-time.After(time.Until(l.rec.start.Add(time.Duration(l.rec.second+1) * time.Second))):
				l.rec.flush()
			}
		}
	}()
	cpu := cpuTime()
	for i := 0; i < s.clients; i++ {
		clients.Add(1)
		go func(i int) { defer clients.Done(); l.client(i) }(i)
	}
	clients.Wait()
	cpu = cpuTime() - cpu
	share := float64(cpu) / float64(time.Since(begin)) / float64(runtime.GOMAXPROCS(0))
	elapsed := atomic.LoadInt64(&l.rec.last)
	close(stop)
	printer.Wait()
	l.check()
	lag, _ := quantile(l.rec.merged(func(s *shard) []uint64 { return s.lags }), 0.99, halfBits)
	sources := l.rec.merged(func(s *shard) []uint64 { return s.sources })
	sourceP50, sourceDone := quantile(sources, 0.5, halfBits)
	sourceP99, _ := quantile(sources, 0.99, halfBits)
	least, most, worst, median, fairness := l.rec.evenness()
	fmt.Printf("end begun=%d done=%d retried=%d errors=%d missed=%d elapsed_ns=%d gap_ns=%d lag_p99_ns=%d cpu_ppm=%d least=%d most=%d read=%d mismatches=%d",
		l.rec.begun, l.rec.done, l.rec.retried, l.rec.errors, l.missed(), elapsed, l.rec.gap, lag,
		int(share*1e6), least, most, l.read, l.mismatches)
	fmt.Printf(" p99_worst_ns=%d p99_median_ns=%d fairness_ppm=%d source_done=%d source_p50_ns=%d source_p99_ns=%d replayed=%d replay_ns=%d\n",
		worst, median, int(fairness*1e6), sourceDone, sourceP50, sourceP99, l.replayed, int64(l.replay))
}

// fill writes every key once.
func fill(s *settings, conns []connection) {
	keys := newKeyspace(s)
	var next uint64
	var workers sync.WaitGroup
	for i := 0; i < 64; i++ {
		workers.Add(1)
		go func(i int) {
			defer workers.Done()
			for {
				number := atomic.AddUint64(&next, 1) - 1
				if number >= s.keys {
					return
				}
				name := keys.key(number)
				if err := conns[i%len(conns)].put(name, keys.value(name), s.timeout); err != nil {
					fail("writing the keys that are to be read failed: %v", err)
				}
			}
		}(i)
	}
	workers.Wait()
	fmt.Println("filled")
}

// serve runs the task on connections that `open` makes; the other tasks are the peer's own.
func serve(s *settings, open func() (connection, error), tasks map[string]func() (string, error)) {
	if task, own := tasks[s.task]; own {
		answer, err := task()
		if err != nil {
			fail("%v", err)
		}
		fmt.Println(answer)
		return
	}
	conns := make([]connection, s.conns)
	for i := range conns {
		c, err := open()
		if err != nil {
			fail("cannot connect: %v", err)
		}
		conns[i] = c
	}
	if s.task == "fill" {
		fill(s, conns)
	} else {
		run(s, conns)
	}
}
