package ipc_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"

	"berth/ipc"
	"berth/session"
)

// host starts an engine, as a controller does, and dials it once for each name.
func host(names ...string) (*ipc.Engine, []*ipc.Client, func()) {
	sess, err := session.Named(fmt.Sprintf("example-%d", os.Getpid()))
	if err != nil {
		log.Fatal(err)
	}
	engine, err := ipc.NewEngine(sess, ipc.Options{})
	if err != nil {
		log.Fatal(err)
	}
	var clients []*ipc.Client
	for _, name := range names {
		c, err := ipc.Dial(context.Background(), engine.Endpoint(), name)
		if err != nil {
			log.Fatal(err)
		}
		clients = append(clients, c)
	}
	return engine, clients, func() {
		for _, c := range clients {
			_ = c.Close()
		}
		_ = engine.Close()
	}
}

// upper answers every request in capitals.
func upper(ctx context.Context, s *ipc.Session) {
	for {
		m, err := s.Recv(ctx)
		if errors.Is(err, ipc.ErrStarved) {
			continue // a notice: its next message waits for memory
		}
		if err != nil {
			return // io.EOF: the other side has closed
		}
		p, err := s.Alloc(ctx, len(m.Bytes()))
		if err != nil {
			m.Release()
			return
		}
		copy(p.Bytes(), bytes.ToUpper(m.Bytes()))
		err = s.Reply(ctx, m, p)
		m.Release()
		if err != nil {
			return
		}
	}
}

// A companion fills memory that it shares with the engine and hands it over: the
// bytes are not copied, only their location travels.
func Example() {
	engine, clients, end := host("outlook")
	defer end()
	engine.Handle("greet", func(ctx context.Context, s *ipc.Session) {
		m, err := s.Recv(ctx)
		if err != nil {
			return
		}
		defer m.Release()
		_ = s.SendBytes(ctx, append([]byte("hello, "), m.Bytes()...))
	})

	ctx, c := context.Background(), clients[0]
	s, err := c.Open(ctx, "controller/greet", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	p, err := s.Alloc(ctx, len("engine")) // memory in the own block
	if err != nil {
		log.Fatal(err)
	}
	copy(p.Bytes(), "engine")
	if err := s.Send(ctx, p); err != nil { // p is the other side's now
		log.Fatal(err)
	}
	m, err := s.Recv(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(m.Bytes())) // the other side's memory itself
	m.Release()                    // which gets it back
	// Output: hello, engine
}

func ExampleNewEngine() {
	sess, err := session.Named(fmt.Sprintf("example-%d", os.Getpid()))
	if err != nil {
		log.Fatal(err)
	}
	engine, err := ipc.NewEngine(sess, ipc.Options{Budget: 64 << 20})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	engine.Handle("upper", upper)
	c, err := ipc.Dial(context.Background(), engine.Endpoint(), "shell") // usually another process
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	for _, companion := range engine.Stats().Companions {
		fmt.Println(companion.Name, companion.State)
	}
	// Output: shell registered
}

func ExampleSession_Call() {
	engine, clients, end := host("outlook")
	defer end()
	engine.Handle("upper", upper)

	ctx := context.Background()
	s, err := clients[0].Open(ctx, "controller/upper", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	for _, word := range []string{"one", "two"} {
		p, err := s.Alloc(ctx, len(word))
		if err != nil {
			log.Fatal(err)
		}
		copy(p.Bytes(), word)
		reply, err := s.Call(ctx, p)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(reply.Bytes()))
		reply.Release()
	}
	// Output:
	// ONE
	// TWO
}

// A stream may be larger than any block.
func ExampleSession_Writer() {
	engine, clients, end := host("outlook")
	defer end()
	engine.Handle("count", func(ctx context.Context, s *ipc.Session) {
		n, err := io.Copy(io.Discard, s.Reader(ctx))
		if err != nil {
			_ = s.Fail(err.Error())
			return
		}
		_ = s.SendBytes(ctx, fmt.Appendf(nil, "%d bytes", n))
	})

	ctx := context.Background()
	s, err := clients[0].Open(ctx, "controller/count", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	w := s.Writer(ctx)
	if _, err := io.Copy(w, strings.NewReader(strings.Repeat("x", 10_000_000))); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil { // the end of the stream, not of the session
		log.Fatal(err)
	}
	m, err := s.Recv(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(m.Bytes()))
	m.Release()
	// Output: 10000000 bytes
}

// One companion serves another; the engine passes the messages on.
func ExampleClient_Handle() {
	_, clients, end := host("outlook", "shell")
	defer end()
	outlook, shell := clients[0], clients[1]
	shell.Handle("upper", upper)

	ctx := context.Background()
	s, err := outlook.Open(ctx, "shell/upper", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	p, err := s.Alloc(ctx, 5)
	if err != nil {
		log.Fatal(err)
	}
	copy(p.Bytes(), "hello")
	reply, err := s.Call(ctx, p)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(reply.Bytes()))
	reply.Release()

	_, err = outlook.Open(ctx, "shell/lower", nil)
	fmt.Println(errors.Is(err, ipc.ErrAddress))
	// Output:
	// HELLO
	// true
}

// Accept takes sessions one by one where a handler does not fit.
func ExampleClient_Accept() {
	engine, clients, end := host("outlook")
	defer end()
	ctx, shell := context.Background(), clients[0]
	accepted := make(chan *ipc.Session)
	go func() {
		s, err := shell.Accept(ctx)
		if err != nil {
			log.Fatal(err)
		}
		accepted <- s
	}()
	var s *ipc.Session
	for s == nil { // refused until somebody accepts
		var err error
		if s, err = engine.Open(ctx, "outlook/anything", []byte("header")); err != nil && !errors.Is(err, ipc.ErrAddress) {
			log.Fatal(err)
		}
	}
	defer s.Close()
	got := <-accepted
	fmt.Println(got.Peer(), got.Service(), string(got.Header()))
	_ = got.Close()
	// Output: controller anything header
}

// Parts of one program that trust each other pass large parcels in a time that
// does not depend on their size.
func ExampleClient_OpenTrusted() {
	_, clients, end := host("front", "back")
	defer end()
	front, back := clients[0], clients[1]
	back.HandleTrusted("upper", upper)

	ctx := context.Background()
	s, err := front.OpenTrusted(ctx, "back/upper", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	p, err := s.Alloc(ctx, 8<<20)
	if err != nil {
		log.Fatal(err)
	}
	for i := range p.Bytes() {
		p.Bytes()[i] = 'a'
	}
	reply, err := s.Call(ctx, p)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(reply.Bytes()), bytes.Count(reply.Bytes(), []byte("A")))
	reply.Release()
	// Output: 8388608 8388608
}

// What is retained outlives its sender and is read in place by who comes later.
func ExampleClient_Retain() {
	engine, clients, end := host("early")
	defer end()
	ctx, early := context.Background(), clients[0]
	if err := early.Retain(ctx, "picture", []byte("many pixels")); err != nil {
		log.Fatal(err)
	}
	_ = early.Close()

	late, err := ipc.Dial(ctx, engine.Endpoint(), "late")
	if err != nil {
		log.Fatal(err)
	}
	defer late.Close()
	m, err := late.Fetch(ctx, "picture")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(string(m.Bytes()))
	m.Release()
	// Output: many pixels
}
