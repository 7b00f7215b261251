// Command bench compares Berth's engine with what else moves bytes between two
// processes of one machine: TCP over loopback, a Unix socket, a pipe, shmipc-go
// (twice: as it comes, and tuned for the size), and, as the limit, memcpy. All of
// them run in turns in one go, so that a busy machine hurts all alike.
//
//	go run .              a table
//	go run . -svg DIR     and two plots
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cloudwego/shmipc-go"
)

// transport is one way of moving bytes to another process and back.
type transport interface {
	// echo sends 64 bytes and waits until they have come back.
	echo() error
	// push sends count messages of size bytes from src and waits until the other
	// process has copied the last one into a buffer of its own.
	push(src []byte, count int) error
	close()
}

// kind is a transport by name; start makes one for messages of size bytes and
// answers the other process's id.
type kind struct {
	name     string
	start    func(size int) (transport, int, error)
	tripOnly bool
}

func kinds() []kind {
	return []kind{
		{name: "berth", start: func(size int) (transport, int, error) { return startBerth(size, false) }},
		{name: "berth, no spin", start: func(size int) (transport, int, error) { return startBerth(size, true) }, tripOnly: true},
		{name: "two bare futexes", start: startFutex, tripOnly: true},
		{name: "tcp", start: func(int) (transport, int, error) { return startSocket("tcp") }},
		{name: "unix", start: func(int) (transport, int, error) { return startSocket("unix") }},
		{name: "pipe", start: startPipe},
		{name: "shmipc default", start: func(int) (transport, int, error) { return startShmipc(0) }},
		{name: "shmipc tuned", start: startShmipc},
	}
}

func main() {
	shmipc.SetLogLevel(100) // its warnings would stand between the figures
	if role := os.Getenv("BENCH_ROLE"); role != "" {
		if err := play(role); err != nil {
			fmt.Fprintln(os.Stderr, "bench peer:", role, err)
			os.Exit(1)
		}
		return
	}
	svg := flag.String("svg", "", "write plots into this directory")
	rounds := flag.Int("rounds", 3, "how often everything is measured; the median counts")
	only := flag.String("only", "", "measure only the transports whose names begin so, separated by commas")
	moves := flag.Bool("moves", true, "measure also how long it takes to hand parcels over")
	list := flag.String("sizes", "4096,65536,1048576,16777216,67108864", "the `bytes` of the messages whose rate is measured")
	flag.Parse()
	sizes, err := sizesFrom(*list)
	if err != nil {
		fmt.Fprintln(os.Stderr, "-sizes:", err)
		os.Exit(2)
	}
	tidyWhenStopped()
	r := run(plan{*rounds, chosen(*only), sizes})
	if *moves {
		if r.moves, err = measureMoves(); err != nil {
			fmt.Fprintln(os.Stderr, "handing over:", err)
		}
	}
	r.print(os.Stdout)
	if *svg != "" {
		if err := r.plot(*svg); err != nil {
			fmt.Fprintln(os.Stderr, "plots:", err)
			os.Exit(1)
		}
	}
}

// latency is of round trips of 64 bytes.
type latency struct {
	p50, p99 time.Duration
	cpu      time.Duration // of both processes, per round trip
}

type results struct {
	sizes   []int
	names   []string
	trip    map[string]latency
	rate    map[string]map[int]float64 // GB/s by size
	cpu     map[string]map[int]time.Duration
	copying map[int]float64 // one thread
	twice   map[int]float64 // two threads, and nothing around their copies
	moves   []move
}

type plan struct {
	rounds int
	kinds  []kind
	sizes  []int
}

// sizesFrom reads sizes in bytes, separated by commas.
func sizesFrom(list string) (all []int, err error) {
	for _, word := range strings.Split(list, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n <= 64 {
			return nil, fmt.Errorf("a size is a number of bytes above 64, not %q", word)
		}
		all = append(all, n)
	}
	return all, nil
}

// chosen are the transports whose names begin with one of the given words.
func chosen(only string) []kind {
	all := kinds()
	return slices.DeleteFunc(all, func(k kind) bool {
		return !slices.ContainsFunc(strings.Split(only, ","), func(word string) bool { return strings.HasPrefix(k.name, word) })
	})
}

func run(p plan) *results {
	r := &results{sizes: p.sizes, trip: map[string]latency{}, rate: map[string]map[int]float64{}, cpu: map[string]map[int]time.Duration{}, copying: map[int]float64{}, twice: map[int]float64{}}
	trips, rates := map[string][]latency{}, map[string]map[int][]float64{}
	copies, twice := map[int][]float64{}, map[int][]float64{}
	for _, k := range p.kinds {
		r.names = append(r.names, k.name)
		rates[k.name], r.rate[k.name], r.cpu[k.name] = map[int][]float64{}, map[int]float64{}, map[int]time.Duration{}
	}
	for range p.rounds {
		for _, k := range p.kinds {
			if l, err := measureTrip(k); err != nil {
				fmt.Fprintf(os.Stderr, "%s: %v\n", k.name, err)
			} else {
				trips[k.name] = append(trips[k.name], l)
			}
		}
		for _, size := range p.sizes {
			limit(copies, size, measureCopy)
			limit(twice, size, measureTwoCopies)
			for _, k := range p.kinds {
				if k.tripOnly {
					continue
				}
				rate, cpu, err := measureRate(k, size)
				if err != nil {
					fmt.Fprintf(os.Stderr, "%s, %d bytes: %v\n", k.name, size, err)
					continue
				}
				rates[k.name][size] = append(rates[k.name][size], rate)
				r.cpu[k.name][size] = cpu
			}
		}
	}
	for name, all := range trips {
		slices.SortFunc(all, func(a, b latency) int { return int(a.p50 - b.p50) })
		r.trip[name] = all[len(all)/2]
	}
	for name, bySize := range rates {
		for size, all := range bySize {
			r.rate[name][size] = median(all)
		}
	}
	for size, all := range copies {
		r.copying[size], r.twice[size] = median(all), median(twice[size])
	}
	return r
}

func limit(all map[int][]float64, size int, measure func(int) (float64, error)) {
	v, err := measure(size)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the limit:", err)
	}
	all[size] = append(all[size], v)
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

// measureTrip takes the times of round trips for a third of a second.
func measureTrip(k kind) (latency, error) {
	t, pid, err := k.start(64)
	if err != nil {
		return latency{}, err
	}
	defer t.close()
	for range 2000 {
		if err := t.echo(); err != nil {
			return latency{}, err
		}
	}
	var all []time.Duration
	before := cpuTime(os.Getpid()) + cpuTime(pid)
	for end := time.Now().Add(time.Second / 3); time.Now().Before(end); {
		start := time.Now()
		if err := t.echo(); err != nil {
			return latency{}, err
		}
		all = append(all, time.Since(start))
	}
	cpu := cpuTime(os.Getpid()) + cpuTime(pid) - before
	slices.Sort(all)
	return latency{all[len(all)/2], all[len(all)*99/100], cpu / time.Duration(len(all))}, nil
}

// measureRate pushes for about a third of a second and answers GB/s and the time
// on the processors per message.
func measureRate(k kind, size int) (float64, time.Duration, error) {
	t, pid, err := k.start(size)
	if err != nil {
		return 0, 0, err
	}
	defer t.close()
	src := make([]byte, size)
	fillBytes(src)
	count := max(2, (64<<20)/size)
	if err := t.push(src, count); err != nil { // warm, and a first guess
		return 0, 0, err
	}
	start := time.Now()
	if err := t.push(src, count); err != nil {
		return 0, 0, err
	}
	count = max(2, int(float64(count)*float64(time.Second/3)/float64(time.Since(start))))
	before := cpuTime(os.Getpid()) + cpuTime(pid)
	start = time.Now()
	if err := t.push(src, count); err != nil {
		return 0, 0, err
	}
	took := time.Since(start)
	cpu := (cpuTime(os.Getpid()) + cpuTime(pid) - before) / time.Duration(count)
	return float64(size) * float64(count) / took.Seconds() / 1e9, cpu, nil
}

// child starts this program again as the other process.
func child(role, address string, files ...*os.File) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "BENCH_ROLE="+role, "BENCH_ADDRESS="+address)
	cmd.Stderr, cmd.ExtraFiles = os.Stderr, files
	return cmd, cmd.Start()
}

func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}
