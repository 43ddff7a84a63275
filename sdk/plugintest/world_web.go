package plugintest

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"strings"
)

// webServer serves a directory, and takes files into it and out of it.
type webServer struct{ root *os.Root }

func (s webServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(path.Clean("/"+r.URL.Path), "/")
	var err error
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		http.FileServerFS(s.root.FS()).ServeHTTP(w, r)
		return
	case http.MethodPut:
		var content []byte
		if content, err = io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20)); err == nil {
			err = errors.Join(s.root.MkdirAll(path.Dir(name), 0o755), s.root.WriteFile(name, content, 0o644))
		}
	case http.MethodDelete:
		err = s.root.Remove(name)
	default:
		http.Error(w, "GET, PUT and DELETE are what this server knows", http.StatusMethodNotAllowed)
		return
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}

// proxyTo passes requests on to what the author has.
func proxyTo(address string) (http.Handler, error) {
	to, err := url.Parse(address)
	if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return nil, fmt.Errorf("%q is no URL of a server; write {via http://HOST:PORT}", address)
	}
	return &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
		ErrorLog: nil,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, "plugincheck cannot reach "+address+": "+err.Error(), http.StatusBadGateway)
		},
	}, nil
}

// retryAfter is what the world says with 429, in seconds.
const retryAfter = "1"

// before puts the faults in front of a server.
func (f *faults) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m := f.meet(r.Method != http.MethodGet && r.Method != http.MethodHead)
		switch m.kind {
		case slow:
			m.met()
			m.wait(r.Context())
			next.ServeHTTP(w, r)
		case limited:
			m.met()
			w.Header().Set("Retry-After", retryAfter)
			http.Error(w, `{"error": "too many requests"}`, http.StatusTooManyRequests)
		case unavailable:
			m.met()
			http.Error(w, `{"error": "not now"}`, http.StatusServiceUnavailable)
		case held:
			m.met()
			m.wait(r.Context())
			panic(http.ErrAbortHandler)
		case cutOff:
			m.met()
			panic(http.ErrAbortHandler)
		case lostAnswer, doneAndHeld:
			next.ServeHTTP(httptest.NewRecorder(), r)
			m.met()
			m.wait(r.Context())
			panic(http.ErrAbortHandler)
		default:
			next.ServeHTTP(w, r)
		}
	})
}
