// Package serve implements what the registry commands have in common: flags, the lifetime as a
// child process, logging, and the configuration of the registry library.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/sirupsen/logrus"
)

// Main parses the flags and serves the handler that open returns for them, until it receives
// SIGINT or SIGTERM or, with -stdin, until standard input ends. When it accepts connections it
// prints its host:port in one line, and nothing else. It exits with status 2 if the flags are
// invalid, and with 1 if serving failed. A request for /requests returns the number of requests
// by method in JSON.
func Main(open func(Config) (http.Handler, error)) {
	log.SetFlags(0)
	var (
		config  Config
		addr    = flag.String("addr", "127.0.0.1:0", "listen on this `host:port`; port 0 selects a free one")
		tlsCert = flag.String("tls-cert", "", "serve TLS with the certificate in this PEM `file`")
		tlsKey  = flag.String("tls-key", "", "the private key of the certificate in this PEM `file`")
		stdin   = flag.Bool("stdin", false, "exit when standard input ends, so that the process does not outlive its parent")
	)
	flag.BoolVar(&config.Delete, "delete", true, "allow deletion")
	flag.BoolVar(&config.ReadOnly, "readonly", false, "reject every write")
	flag.BoolVar(&config.Schema1, "schema1", false, "accept Docker schema 1 manifests (registry-v2 only)")
	flag.StringVar(&config.Root, "root", "", "store content in this `directory`; by default it is in memory, which is slow for large layers")
	flag.StringVar(&config.Htpasswd, "htpasswd", "", "require Basic authentication with the users in this `file` (bcrypt)")
	flag.StringVar(&config.Token.Realm, "token-realm", "", "require bearer tokens from the token server at this `URL`")
	flag.StringVar(&config.Token.Service, "token-service", "", "the audience of the tokens")
	flag.StringVar(&config.Token.Issuer, "token-issuer", "", "the issuer of the tokens")
	flag.StringVar(&config.Token.RootCert, "token-rootcert", "", "verify tokens with the certificates in this PEM `file`")
	flag.BoolVar(&config.Verbose, "v", false, "log requests to standard error")
	flag.Parse()
	if flag.NArg() > 0 || (*tlsCert == "") != (*tlsKey == "") || (config.Htpasswd != "" && config.Token.Realm != "") {
		flag.Usage()
		os.Exit(2)
	}

	if !config.Verbose {
		logrus.SetOutput(io.Discard)
	}
	// The library would create a missing file with a generated user and password.
	if _, err := os.Stat(config.Htpasswd); config.Htpasswd != "" && err != nil {
		log.Fatal("-htpasswd: ", err)
	}
	handler, err := open(config)
	if err != nil {
		log.Fatal(err)
	}
	listener, err := listen(*addr, *tlsCert, *tlsKey)
	if err != nil {
		log.Fatal(err)
	}
	if err := serve(listener, handler, *stdin); err != nil {
		log.Fatal(err)
	}
}

// serve prints the listener's address and serves until the process receives a signal or, if
// stdin is set, until standard input ends.
func serve(listener net.Listener, handler http.Handler, stdin bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if stdin {
		go func() {
			_, _ = io.Copy(io.Discard, os.Stdin)
			stop()
		}()
	}
	server := &http.Server{Handler: count(handler), ErrorLog: log.New(io.Discard, "", 0)}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Println(listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func listen(addr, cert, key string) (net.Listener, error) {
	listener, err := net.Listen("tcp", addr)
	if err != nil || cert == "" {
		return listener, err
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return tls.NewListener(listener, &tls.Config{
		Certificates: []tls.Certificate{pair},
		NextProtos:   []string{"h2", "http/1.1"},
		MinVersion:   tls.VersionTLS12,
	}), nil
}
