// Two HTTP/2 servers with prior knowledge on loopback, for the client of lib/http2: prints their addresses, serves until
// its standard input ends. The first is golang.org/x/net/http2, as inside the control server's connections. The second is
// hostile (hostile.go).
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

func serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/hash": // the body's size and hash, whatever the method
		hash := sha256.New()
		n, err := io.Copy(hash, r.Body)
		fmt.Fprintf(w, "%s %d %x %v", r.Method, n, hash.Sum(nil), err)
	case strings.HasPrefix(r.URL.Path, "/bytes/"): // as many bytes, counting up
		n, _ := strconv.Atoi(r.URL.Path[7:])
		piece := make([]byte, 10_000)
		for at := 0; at < n; at += len(piece) {
			for i := range piece {
				piece[i] = byte((at + i) % 251)
			}
			if _, err := w.Write(piece[:min(len(piece), n-at)]); err != nil {
				return
			}
		}
	case r.URL.Path == "/ticks": // one line per 20 ms, without end
		for i := 0; r.Context().Err() == nil; i++ {
			fmt.Fprintf(w, "%d\n", i)
			w.(http.Flusher).Flush()
			time.Sleep(20 * time.Millisecond)
		}
		fmt.Println("ticks ended:", r.Context().Err())
	case r.URL.Path == "/head": // a header of as many bytes, and a trailer
		n, _ := strconv.Atoi(r.URL.Query().Get("n"))
		w.Header().Set("Trailer", "Checksum")
		w.Header().Set("X-Large", strings.Repeat("h", n))
		fmt.Fprint(w, "body")
		w.Header().Set("Checksum", "7")
	default:
		http.NotFound(w, r)
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	base := &http.Server{Handler: http.HandlerFunc(serve)}
	server := &http2.Server{MaxConcurrentStreams: 3}
	if err := http2.ConfigureServer(base, server); err != nil {
		panic(err)
	}
	enemy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr(), enemy.Addr())
	go func() {
		for {
			conn, err := enemy.Accept()
			if err != nil {
				return
			}
			go attack(conn)
		}
	}()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go server.ServeConn(conn, &http2.ServeConnOpts{BaseConfig: base})
		}
	}()
	io.Copy(io.Discard, os.Stdin)
	base.Shutdown(context.Background()) // sends GOAWAY
	time.Sleep(2 * time.Second)
}
