package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// relay passes TCP streams on to the CA and counts them. With a delay it is a
// distant CA: everything takes that long each way, and the first byte of a
// connection waits a whole round trip more, which is what its setup would take.
type relay struct {
	to          string
	delay       time.Duration
	listener    net.Listener
	connections atomic.Int64

	ctx     context.Context //nolint:containedctx // ends what the relay's own goroutines wait for
	cancel  context.CancelFunc
	running sync.WaitGroup
}

func newRelay(ctx context.Context, to string, delay time.Duration) (*relay, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a relay: %w", err)
	}
	r := &relay{to: to, delay: delay, listener: listener}
	r.ctx, r.cancel = context.WithCancel(ctx)
	r.running.Go(r.accept)
	return r, nil
}

func (r *relay) address() string { return r.listener.Addr().String() }

// close cuts every stream and waits.
func (r *relay) close() error {
	r.cancel()
	err := r.listener.Close()
	r.running.Wait()
	return err
}

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.connections.Add(1)
		r.running.Go(func() { r.pass(client) })
	}
}

// pass carries one stream in both directions until both have ended.
func (r *relay) pass(client net.Conn) {
	defer client.Close()
	open := time.Now().Add(2 * r.delay)
	server, err := new(net.Dialer).DialContext(r.ctx, "tcp", r.to)
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(r.ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { r.carry(server, client, open) })
	both.Go(func() { r.carry(client, server, time.Time{}) })
	both.Wait()
}

type chunk struct {
	data []byte
	due  time.Time
}

// carry reads as fast as it comes and writes each piece when it is due. Nothing
// is due before notBefore and the delay.
func (r *relay) carry(to, from net.Conn, notBefore time.Time) {
	chunks := make(chan chunk, 1024)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer close(chunks)
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			sent := time.Now()
			if sent.Before(notBefore) {
				sent = notBefore
			}
			if n > 0 {
				chunks <- chunk{buf[:n], sent.Add(r.delay)}
			}
			if err != nil {
				return
			}
		}
	})
	for c := range chunks {
		if wait(r.ctx, time.Until(c.due)) != nil {
			break
		}
		if _, err := to.Write(c.data); err != nil && !errors.Is(err, io.EOF) {
			break
		}
	}
	// The other side is told of the end; the reader ends by it, or by close.
	if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite()
	}
	for range chunks { // what came after a failure is for nobody
	}
	reading.Wait()
}
