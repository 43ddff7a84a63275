package main

import (
	"crypto/md5"
	"encoding/hex"
	"io"
	"net"
	"net/http"
	"strings"
)

type bucket struct {
	owner   *account
	region  string
	acls    bool // it takes ACLs
	objects map[string]object
}

type object struct {
	body, contentType, cacheControl, acl string
}

// bucket makes one. Objects are readable by everybody: there is a policy.
func (f *fake) bucket(name string, owner *account) *bucket {
	f.mu.Lock()
	defer f.mu.Unlock()
	b := &bucket{owner: owner, region: "us-east-1", objects: map[string]object{}}
	f.buckets[name] = b
	return b
}

// names has a host's port 80 served from a bucket, or a directory in it.
func (f *fake) names(place string, hosts ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, h := range hosts {
		f.sites[h] = place
	}
}

// objects gives the keys in a bucket with what they hold.
func (f *fake) objects(name string) map[string]object {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]object{}
	for k, v := range f.buckets[name].objects {
		out[k] = v
	}
	return out
}

func (f *fake) serveS3(w http.ResponseWriter, r *http.Request, who signed, body []byte) *refusal {
	name, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	b := f.buckets[name]
	switch {
	case b == nil:
		return &refusal{http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist"}
	case b.owner != who.account:
		return &refusal{http.StatusForbidden, "AccessDenied", "Access Denied"}
	case who.region != b.region:
		return &refusal{http.StatusBadRequest, "AuthorizationHeaderMalformed", "the region '" + who.region + "' is wrong; expecting '" + b.region + "'"}
	}
	switch r.Method {
	case http.MethodPut:
		acl := r.Header.Get("X-Amz-Acl")
		if acl != "" && !b.acls {
			return &refusal{http.StatusBadRequest, "AccessControlListNotSupported", "The bucket does not allow ACLs"}
		}
		b.objects[key] = object{string(body), r.Header.Get("Content-Type"), r.Header.Get("Cache-Control"), acl}
		sum := md5.Sum(body)
		w.Header().Set("Etag", `"`+hex.EncodeToString(sum[:])+`"`)
		w.WriteHeader(http.StatusOK)
	case http.MethodDelete:
		delete(b.objects, key)
		w.WriteHeader(http.StatusNoContent)
	default:
		return &refusal{http.StatusMethodNotAllowed, "MethodNotAllowed", "The specified method is not allowed against this resource."}
	}
	return nil
}

// serveSite is what the world sees.
func (f *fake) serveSite(w http.ResponseWriter, r *http.Request) {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	place, ok := f.sites[host]
	if !ok {
		place = f.sites["*"]
	}
	name, directory, _ := strings.Cut(place, "/")
	key := strings.TrimPrefix(directory+r.URL.Path, "/")
	b := f.buckets[name]
	if b == nil {
		(&refusal{http.StatusNotFound, "NoSuchBucket", "The specified bucket does not exist"}).write(w, "s3")
		return
	}
	o, ok := b.objects[key]
	if !ok {
		(&refusal{http.StatusNotFound, "NoSuchKey", "The specified key does not exist."}).write(w, "s3")
		return
	}
	w.Header().Set("Content-Type", o.contentType)
	_, _ = io.WriteString(w, o.body)
}
