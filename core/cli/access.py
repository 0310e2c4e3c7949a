"""Access: keys are API tokens, users are people who sign in."""

from __future__ import annotations

import argparse
import re
import secrets
import sys
from datetime import timedelta
from typing import Any

from core.cli.common import BY, as_table, open_state, say, utc_now
from core.cli.options import add_command, add_group, count, split_names
from core.errors import BadInput
from core.records import to_document


def add(commands: Any) -> None:
    """Declare the commands of this module."""
    keys = add_group(commands, "keys", "API tokens.")
    _add_keys_create(keys)
    add_command(keys, "list", _keys_list, "All tokens, without their secret part.", "keys list")
    _add_keys_revoke(keys)
    users = add_group(commands, "users", "People who may sign in.")
    _add_users_add(users)
    _add_users_set_password(users)
    _add_users_set_role(users)
    _add_users_remove(users)
    _add_users_second_factor(users)
    add_command(users, "list", _users_list, "All users who may sign in.", "users list")


def _add_keys_create(keys: Any) -> None:
    text, example = (
        "Create a token; it is shown once.",
        "keys create --scope predict,ingest --project insects --expires 90d",
    )
    create = add_command(keys, "create", _keys_create, text, example)
    create.add_argument("--scope", required=True, metavar="a,b", help="predict, ingest, read, admin")
    create.add_argument(
        "--project", metavar="P", help="slug of the only project that it gives access to; default: every project"
    )
    create.add_argument("--expires", metavar="90d")
    create.add_argument("--per-minute", type=count, metavar="N", help="requests allowed per minute; default: unlimited")
    create.add_argument("--name", default="cli")


def _keys_create(args: argparse.Namespace) -> int:
    from core.services.access import tokens
    from core.services.projects import projects

    ws = open_state()
    project = projects.get_project(ws, args.project) if args.project else None
    expires = utc_now() + _duration(args.expires) if args.expires else None
    info, token = tokens.create_token(
        ws,
        args.name,
        tokens.TokenRights(
            scopes=list(split_names(args.scope)),
            project_id=project.id if project else None,
            expires_at=expires,
            rate_limit=args.per_minute,
        ),
        by=BY,
        now=utc_now(),
    )
    return say(
        args,
        {
            "id": info.id,
            "token": token,
            "scopes": info.scopes,
            "project": project.slug if project else None,
            "expires_at": expires,
            "per_minute": info.rate_limit,
        },
        f"{token}\n(id {info.id}; shown only once; it gives access to "
        + (f"project '{project.slug}' only)" if project else "every project: --project P limits it to one)"),
    )


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d+)([dhm])", text.strip())
    if match is None or int(match[1]) == 0:
        raise BadInput(f"--expires is {text!r}, expected a number with d, h or m: 90d, 12h, 30m.")
    return timedelta(**{{"d": "days", "h": "hours", "m": "minutes"}[match[2]]: int(match[1])})


def _keys_list(args: argparse.Namespace) -> int:
    from core.services.access import accounts, tokens
    from core.services.projects import projects

    ws = open_state()
    listed = tokens.list_tokens(ws)
    slugs: dict[int | None, str] = {None: "every project", **{p.id: p.slug for p in projects.list_projects(ws)}}
    user_uids = {user.uid for user in accounts.list_users(ws)}
    gone = {t.id: t.created_uid is not None and t.created_uid not in user_uids for t in listed}
    table = as_table(
        [
            [
                t.id,
                t.name,
                t.prefix,
                ",".join(t.scopes),
                slugs.get(t.project_id),
                t.expires_at,
                t.rate_limit,
                f"{t.created_by} (removed)" if gone[t.id] else t.created_by,
                "revoked" if t.revoked_at else "",
            ]
            for t in listed
        ],
        ["id", "name", "prefix", "scopes", "project", "expires", "per minute", "created by", ""],
    )
    keys = [
        {
            **to_document(t),
            "project": slugs.get(t.project_id) if t.project_id is not None else None,
            "maker_removed": gone[t.id],
        }
        for t in listed
    ]
    return say(
        args, {"keys": keys}, table if listed else "No token yet. Create one with `keys create --scope predict`."
    )


def _add_keys_revoke(keys: Any) -> None:
    revoke = add_command(keys, "revoke", _keys_revoke, "Revoke a token.", "keys revoke 3")
    revoke.add_argument("id", type=int, metavar="ID")


def _keys_revoke(args: argparse.Namespace) -> int:
    from core.services.access import tokens

    tokens.revoke_token(open_state(), args.id, by=BY, now=utc_now())
    return say(args, {"revoked": args.id}, f"Token {args.id} is revoked; every process refuses it within 2 s.")


def _add_users_add(users: Any) -> None:
    add = add_command(users, "add", _users_add, "Add a person.", "users add maria --role operator")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--role", required=True, choices=("viewer", "operator", "admin"))
    add.add_argument("--password-stdin", action="store_true", help="read it from standard input")


def _users_add(args: argparse.Namespace) -> int:
    from core.services.access import accounts

    password, generated = _new_password(args)
    accounts.create_user(open_state(), args.name, password, args.role, by=BY, now=utc_now())
    document = {"user": args.name, "role": args.role, "password": password if generated else None}
    return say(
        args, document, f"User: {args.name}" + (f"\nPassword: {password} (shown only once)" if generated else "")
    )


def _add_users_set_password(users: Any) -> None:
    text = "Change a password; older sessions end."
    password = add_command(users, "set-password", _users_set_password, text, "users set-password maria")
    password.add_argument("name", metavar="NAME")
    password.add_argument("--password-stdin", action="store_true", help="read it from standard input")


def _users_set_password(args: argparse.Namespace) -> int:
    from core.services.access import accounts

    password, generated = _new_password(args)
    accounts.set_password(open_state(), args.name, password, by=BY, now=utc_now())
    document = {"user": args.name, "password": password if generated else None}
    return say(
        args,
        document,
        f"The password of {args.name} is changed; older sessions end."
        + (f"\nPassword: {password} (shown only once)" if generated else ""),
    )


def _new_password(args: argparse.Namespace) -> tuple[str, bool]:
    """The password from standard input, or a generated one; and whether it was generated."""
    if args.password_stdin:
        return sys.stdin.readline().rstrip("\n"), False
    return secrets.token_urlsafe(12), True


def _add_users_set_role(users: Any) -> None:
    text = "Change a person's role."
    role = add_command(users, "set-role", _users_set_role, text, "users set-role maria --role admin")
    role.add_argument("name", metavar="NAME")
    role.add_argument("--role", required=True, choices=("viewer", "operator", "admin"))


def _users_set_role(args: argparse.Namespace) -> int:
    from core.services.access import accounts

    accounts.set_role(open_state(), args.name, args.role, by=BY, now=utc_now())
    return say(args, {"user": args.name, "role": args.role}, f"{args.name} now has the role {args.role}.")


def _add_users_remove(users: Any) -> None:
    remove = add_command(users, "remove", _users_remove, "Remove a person.", "users remove maria")
    remove.add_argument("name", metavar="NAME")
    remove.add_argument(
        "--keep-tokens", action="store_true", help="keep the tokens that they created; by default they are revoked"
    )


def _users_remove(args: argparse.Namespace) -> int:
    from core.services.access import accounts

    tokens = accounts.remove_user(open_state(), args.name, keep_tokens=args.keep_tokens, by=BY, now=utc_now())
    lines = [f"{args.name} is removed."]
    if tokens:
        lines.append(
            "Their tokens stay valid; revoke one with `keys revoke ID`:"
            if args.keep_tokens
            else "Their tokens are revoked:"
        )
        lines += [f"  {t.id}  {t.name}  {t.prefix}…  {','.join(t.scopes)}" for t in tokens]
    document = {"removed": args.name, "tokens": [t.id for t in tokens], "tokens_revoked": not args.keep_tokens}
    return say(args, document, "\n".join(lines))


def _add_users_second_factor(users: Any) -> None:
    text = "Turn off the second factor of a person who has lost it."
    factor = add_command(users, "second-factor", _users_second_factor, text, "users second-factor maria --off")
    factor.add_argument("name", metavar="NAME")
    factor.add_argument(
        "--off", action="store_true", required=True, help="the person can then set up a new one in the app"
    )


def _users_second_factor(args: argparse.Namespace) -> int:
    from core.services.access import second_factor

    had = second_factor.disable(open_state(), args.name, by=BY, now=utc_now())
    result = "turned off; the password alone is enough again." if had else "none was set up."
    return say(args, {"user": args.name, "had": had}, f"Second factor of {args.name}: {result}")


def _users_list(args: argparse.Namespace) -> int:
    from core.services.access import accounts

    users = [
        {
            "name": u.name,
            "role": u.role,
            "created_at": u.created_at,
            "last_seen_at": u.last_seen_at,
            "second_factor": u.second_factor,
        }
        for u in accounts.list_users(open_state())
    ]
    return say(
        args,
        {"users": users},
        as_table([[u["name"], u["role"], u["last_seen_at"]] for u in users], ["name", "role", "last seen"]),
    )
