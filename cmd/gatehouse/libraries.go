package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/grpclog"
)

// captureLibraries makes libraries log to slog.Default, which execute sets. By default, each of them writes to stderr
// itself, where it would wait for a reader that stalls. It must be called before anything else of these libraries.
func captureLibraries() {
	grpclog.SetLoggerV2(grpcLogger{grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)})
	redis.SetLogger(redisLogger{})
	_ = mysql.SetLogger(mysqlLogger{}) // It refuses nil only.
}

// grpcLogger writes the errors that grpc-go logs, which are all that it logs by default.
type grpcLogger struct{ grpclog.LoggerV2 }

func (l grpcLogger) Error(args ...any)                 { l.warn(fmt.Sprint(args...)) }
func (l grpcLogger) Errorln(args ...any)               { l.warn(fmt.Sprint(args...)) }
func (l grpcLogger) Errorf(format string, args ...any) { l.warn(fmt.Sprintf(format, args...)) }

func (grpcLogger) warn(text string) { slog.Warn("gRPC library", "message", text) }

// redisLogger writes what go-redis logs.
type redisLogger struct{}

// Printf implements the interface of go-redis.
func (redisLogger) Printf(ctx context.Context, format string, args ...any) {
	slog.WarnContext(ctx, "Redis library", "message", fmt.Sprintf(format, args...))
}

// mysqlLogger writes what the MySQL driver logs: causes of errors that it returns without them.
type mysqlLogger struct{}

// Print implements mysql.Logger.
func (mysqlLogger) Print(args ...any) {
	slog.Warn("MySQL library", "message", fmt.Sprint(args...))
}
