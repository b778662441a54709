package servers

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A RedisTLSServer also takes encrypted connections.
type RedisTLSServer struct {
	*RedisServer
	TLSAddr string // host:port
	CA      string // path of the PEM file with the certificate that signs the server's
}

// RedisTLS starts a server with TLS beside plain connections.
func RedisTLS(t testing.TB, settings ...string) *RedisTLSServer {
	t.Helper()
	dir := t.TempDir()
	cert, key := selfSigned(t, dir)
	port := freePort(t)
	settings = append([]string{
		fmt.Sprintf("tls-port %d", port), "tls-auth-clients no",
		"tls-cert-file " + cert, "tls-key-file " + key, "tls-ca-cert-file " + cert,
	}, settings...)
	return &RedisTLSServer{RedisServer: Redis(t, settings...), TLSAddr: local(port), CA: cert}
}

// selfSigned makes a certificate for 127.0.0.1 that is its own authority, and returns the paths of
// it and of its key.
func selfSigned(t testing.TB, dir string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal("servers: key: ", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "a test's server"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal("servers: certificate: ", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal("servers: key: ", err)
	}
	return writePEM(t, dir, "cert.pem", "CERTIFICATE", cert), writePEM(t, dir, "key.pem", "PRIVATE KEY", private)
}

func writePEM(t testing.TB, dir, name, kind string, der []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal("servers: ", err)
	}
	return path
}
