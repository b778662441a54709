package oncehttp

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"net/http"
	"slices"
	"strings"

	"github.com/oncehq/once"
)

// fingerprintVersion is part of every fingerprint. Requests that were recorded with another
// version do not match any more, so it changes only together with what is digested.
const fingerprintVersion = "once http 1"

// A digester computes fingerprints. Its zero value is ready for use by one goroutine at a time.
type digester struct {
	hash  hash.Hash
	text  []byte // what is digested but for a body that is taken as it is
	canon canonicalizer
	sum   [sha256.Size]byte
}

// fingerprint returns the digest of what r asks for: method, path, query with its names in order,
// content type and encoding, and the body. A JSON body counts by its canonical form less what is
// left out, a multipart body by its parts, for the boundary between them is random, and any other
// by its bytes. The length of each part goes before it, so that none can pass for another.
func fingerprint(d *digester, r *http.Request, body []byte, left *omission) once.Fingerprint {
	contentType := first(r.Header["Content-Type"])
	encoding := first(r.Header["Content-Encoding"])
	d.text = appendPart(d.text[:0], fingerprintVersion)
	d.text = appendPart(d.text, r.Method)
	d.text = appendPart(d.text, r.URL.EscapedPath())
	d.text = appendPart(d.text, sortedQuery(r.URL.RawQuery))
	d.text = appendPart(d.text, encoding)

	plain := encoding == "" // else the body is not what the content type says
	raw := body
	switch media := mediaType(contentType); {
	case plain && isJSON(media):
		d.text = appendPart(d.text, contentType)
		mark := len(d.text)
		d.text = appendPart(d.text, "json")
		if text, ok := d.canon.canonical(d.text, body, left); ok {
			d.text, raw = text, nil
		} else {
			d.text = appendPart(d.text[:mark], "raw")
		}
	case plain && hasPrefixFold(media, "multipart/"):
		if text, ok := appendMultipart(d.text, contentType, body); ok {
			d.text, raw = text, nil
		} else {
			d.text = appendPart(appendPart(d.text, contentType), "raw")
		}
	default:
		d.text = appendPart(appendPart(d.text, contentType), "raw")
	}
	if raw == nil {
		return sha256.Sum256(d.text)
	}
	if d.hash == nil {
		d.hash = sha256.New()
	}
	d.hash.Reset()
	d.hash.Write(d.text)
	d.hash.Write(raw)
	d.hash.Sum(d.sum[:0])
	return d.sum
}

func appendPart[T []byte | string](text []byte, part T) []byte {
	text = binary.BigEndian.AppendUint32(text, uint32(len(part)))
	return append(text, part...)
}

// sortedQuery orders the query by name. What is given twice under one name keeps its order,
// which may matter.
func sortedQuery(query string) string {
	if strings.IndexByte(query, '&') < 0 {
		return query
	}
	name := func(pair string) string {
		n, _, _ := strings.Cut(pair, "=")
		return n
	}
	pairs := strings.Split(query, "&")
	slices.SortStableFunc(pairs, func(a, b string) int { return strings.Compare(name(a), name(b)) })
	return strings.Join(pairs, "&")
}

// mediaType returns the media type of a Content-Type field without parameters.
func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.Trim(media, " \t")
}

// isJSON reports whether the media type is JSON (RFC 8259) or built upon it (RFC 6839).
func isJSON(media string) bool {
	const json, suffix = "application/json", "+json"
	return strings.EqualFold(media, json) ||
		len(media) > len(suffix) && strings.EqualFold(media[len(media)-len(suffix):], suffix)
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
