{"type":"session.created","session":{"request_id":"r1","model":"voxtral-mini-tts","voice":"usage"}}
{"type":"speech.audio.delta","audio_data":"AAAAAA=="}
{"type":"speech.audio.done","usage":{"prompt_tokens":3,"completion_tokens":10,"total_tokens":13}}
{"type":"speech.audio.delta","audio_data":"AAAAAA=="}
{"type":"speech.audio.done","usage":{"prompt_tokens":5,"completion_tokens":21,"total_tokens":26,"prompt_audio_seconds":null}}
