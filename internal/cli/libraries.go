package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9"
	"google.golang.org/grpc/grpclog"
)

// captureLibraries makes libraries log to the log of the process. By default, each of them writes to stderr itself,
// where it would wait for a reader that stalls.
func captureLibraries(log *slog.Logger) {
	slog.SetDefault(log) // It is also where the package log writes.
	grpclog.SetLoggerV2(grpcLogger{grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard), log})
	redis.SetLogger(redisLogger{log})
	_ = mysql.SetLogger(mysqlLogger{log}) // It refuses nil only.
}

// grpcLogger writes the errors that grpc-go logs, which are all that it logs by default.
type grpcLogger struct {
	grpclog.LoggerV2

	log *slog.Logger
}

func (l grpcLogger) Error(args ...any)                 { l.warn(fmt.Sprint(args...)) }
func (l grpcLogger) Errorln(args ...any)               { l.warn(fmt.Sprint(args...)) }
func (l grpcLogger) Errorf(format string, args ...any) { l.warn(fmt.Sprintf(format, args...)) }

func (l grpcLogger) warn(text string) { l.log.Warn("gRPC library", "message", text) }

// redisLogger writes what go-redis logs.
type redisLogger struct{ log *slog.Logger }

// Printf implements the interface of go-redis.
func (l redisLogger) Printf(ctx context.Context, format string, args ...any) {
	l.log.WarnContext(ctx, "Redis library", "message", fmt.Sprintf(format, args...))
}

// mysqlLogger writes what the MySQL driver logs: causes of errors that it returns without them.
type mysqlLogger struct{ log *slog.Logger }

// Print implements mysql.Logger.
func (l mysqlLogger) Print(args ...any) {
	l.log.Warn("MySQL library", "message", fmt.Sprint(args...))
}
